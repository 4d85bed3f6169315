"""aiohttp, loaded by the first connection: an agent nobody asks does not pay for it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import ModuleType


async def load_routes() -> ModuleType:
    """`control/routes.py`, imported in a thread, so that the event loop does not stand still meanwhile."""
    with ThreadPoolExecutor(1, "control-load") as thread:  # the loop's own threads may all be busy
        return await asyncio.get_running_loop().run_in_executor(thread, import_module, "smegmesh.control.routes")
