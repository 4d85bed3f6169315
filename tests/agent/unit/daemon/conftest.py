"""Daemons that are stopped after each test, with no task, timer or complaint left behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from daemons import Agent, Make, Operator, Run


@pytest.fixture(scope="session")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def run(tmp_path: Path, operator: Operator) -> Run:
    """Run a test with agents; afterwards nothing of them may be left in the event loop."""

    def run_test(test: Callable[[Make], Awaitable[None]]) -> None:
        complaints: list[dict[str, object]] = []
        agents: list[Agent] = []

        def make(name: str) -> Agent:
            agents.append(Agent(name, tmp_path / name, operator))
            return agents[-1]

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(context))
            try:
                await test(make)
            finally:
                await asyncio.gather(*(agent.stop() for agent in agents))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, left
            timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            assert not timers, timers

        asyncio.run(main())
        gc.collect()
        assert not complaints

    return run_test
