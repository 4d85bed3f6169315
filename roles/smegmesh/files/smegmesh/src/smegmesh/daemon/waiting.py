"""Waiting that the agent's end cuts short."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any


async def wait_unless(
    stopping: asyncio.Event, waits: Collection[Coroutine[Any, Any, None]], at_most: float | None = None
) -> None:
    """Wait for all, or until the agent is to stop, or for so many seconds; what is not done then is ended."""
    either: list[asyncio.Future[Any]] = [asyncio.gather(*waits), asyncio.ensure_future(stopping.wait())]
    try:
        await asyncio.wait(either, timeout=at_most, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in either:
            wait.cancel()
        await asyncio.gather(*either, return_exceptions=True)
