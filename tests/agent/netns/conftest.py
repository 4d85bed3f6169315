"""Fixtures of the tests in namespaces; they need root."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agents import Agent, Operator, agents
from mesh import Mesh
from namespaces import Lab
from namespaces import lab as open_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with open_lab() as opened:
        yield opened


@pytest.fixture
def mesh(lab: Lab) -> Iterator[Mesh]:
    opened = Mesh()
    yield opened
    opened.close()


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def make(lab: Lab, operator: Operator, tmp_path: Path) -> Iterator[Callable[[str], Agent]]:
    """Makes an agent on a new host of the given name."""
    with agents(lab, tmp_path, operator) as maker:
        yield maker
