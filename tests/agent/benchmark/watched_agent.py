"""smegd as it is, and how late its event loop turns.

    python watched_agent.py FILE [OPTION...]      the options are smegd's

Every SIGUSR1 has the delays since the last one written into FILE, as JSON, in seconds, and told no more.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from smegmesh.daemon import __main__ as smegd

_STEP = 0.005  # seconds


async def _watch(file: Path) -> None:
    loop = asyncio.get_running_loop()
    delays: list[float] = []

    def tell() -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(delays))
        new.replace(file)
        delays.clear()

    loop.add_signal_handler(signal.SIGUSR1, tell)
    while True:
        due = loop.time() + _STEP
        await asyncio.sleep(_STEP)
        delays.append(loop.time() - due)


def main() -> int:
    file, run = Path(sys.argv.pop(1)), smegd._run

    async def watched(*arguments: Any) -> None:
        watching = asyncio.create_task(_watch(file))
        try:
            await run(*arguments)
        finally:
            watching.cancel()

    smegd._run = watched
    return smegd.main()


if __name__ == "__main__":
    sys.exit(main())
