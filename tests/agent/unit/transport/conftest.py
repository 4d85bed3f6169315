"""Hosts that are stopped after each test, with nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
from link_hosts import LOOPBACK, Hosts, Operator, Run


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="session")
def other_operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    return Operator(tmp_path_factory.mktemp("other"), "elsewhere")


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port where connections are made and nothing is ever said."""
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def run() -> Run:
    """Run a test in an event loop; afterwards no task, no complaint of the loop may be left."""

    def run_test(test: Callable[[Hosts], Awaitable[None]]) -> None:
        complaints: list[dict[str, object]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            hosts = Hosts()
            try:
                await test(hosts)
            finally:
                await hosts.stop()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left

        asyncio.run(main())
        gc.collect()
        assert not complaints

    return run_test
