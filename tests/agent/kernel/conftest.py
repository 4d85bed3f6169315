"""Where tests of a WireGuard in the running kernel run: namespaces of their own.

Where it has none these tests are not collected, unless they are asked for by name; the
guest beside this file runs them anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smegmesh.dataplane import kernel

# The hosts and agents of the namespace tests are these tests' too.
sys.path.insert(0, str(Path(__file__).parents[1] / "netns"))
sys.path.insert(0, str(Path(__file__).parent))

import namespaces
from kernel_namespaces import entered, made

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked_for = any(HERE in (path := Path(name).resolve(), *path.parents) for name in config.args)
    return None if asked_for or kernel.available() else True


@pytest.fixture
def lab() -> Iterator[namespaces.Lab]:
    with namespaces.lab() as opened:
        yield opened


@pytest.fixture
def namespace() -> Iterator[None]:
    """The test itself runs in a fresh namespace."""
    with made("smegmesh-kernel") as name, entered(name):
        yield
