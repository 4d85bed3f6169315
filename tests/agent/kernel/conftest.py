"""Namespaces for tests of a WireGuard that the running kernel has.

Where it has none these tests are not collected, unless they are asked for by name; the
guest beside this file runs them anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from smegmesh.dataplane import kernel

sys.path.insert(0, str(Path(__file__).parent))

from kernel_namespaces import Namespace, run

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    asked_for = any(HERE in (path := Path(name).resolve(), *path.parents) for name in config.args)
    return None if asked_for or kernel.available() else True


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """The test itself runs in a fresh namespace."""
    with Namespace("smegk-test").made() as fresh, fresh.entered():
        yield fresh


@pytest.fixture
def underlay() -> Iterator[list[Namespace]]:
    """Three namespaces on one bridge: 198.18.0.1 to .3, each without a way to anywhere else."""
    with ExitStack() as stack:
        switch = stack.enter_context(Namespace("smegk-switch").made())
        run("ip", "-n", switch.name, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", switch.name, "link", "set", "bridge", "up")
        hosts = []
        for number in range(1, 4):
            host = stack.enter_context(Namespace(f"smegk-{number}").made())
            port = f"port{number}"
            run("ip", "-n", host.name, "link", "add", "eth0", "type", "veth",
                "peer", "name", port, "netns", switch.name)  # fmt: skip
            run("ip", "-n", switch.name, "link", "set", port, "master", "bridge", "up")
            run("ip", "-n", host.name, "address", "add", f"198.18.0.{number}/24", "dev", "eth0")
            run("ip", "-n", host.name, "link", "set", "eth0", "up")
            hosts.append(host)
        yield hosts
