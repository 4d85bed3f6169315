"""A table for the engines of a test."""

import pytest
from gossip_table import Table


@pytest.fixture
def table() -> Table:
    return Table()
