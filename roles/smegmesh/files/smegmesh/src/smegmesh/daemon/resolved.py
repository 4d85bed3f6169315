"""What systemd-resolved is told: to ask this agent for the names of a mesh, on the mesh's interface alone.

Such settings belong to an interface and are gone with it; resolv.conf and what other names go by stay as they are. They
are taken back when the agent stops, for nobody would answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from smegmesh.daemon.follower import Follower

_log = logging.getLogger(__name__)
_RETRY = 30.0  # seconds
_LIMIT = 5.0  # seconds, of one command, and of taking back all
_PROGRAM = "resolvectl"
#: The answers are not signed, and nobody but this host sees the questions.
_PLAIN = (("default-route", "false"), ("dnssec", "no"), ("dnsovertls", "no"))

Run = Callable[[Sequence[str]], Awaitable[None]]
Domains = Callable[[], Mapping[str, Sequence[str]]]


class ResolvedError(Exception):
    """A command that failed: what it said, and what to do."""


class Resolved(Follower):
    """Tells which `domains` (by interface) are to be asked for at `server`; `problem` says why it could not."""

    def __init__(self, server: str, domains: Domains, run: Run) -> None:
        super().__init__("resolved")
        self.problem: str | None = None
        self._server = server
        self._domains = domains
        self._command = run
        self._told: set[str] = set()  # interfaces

    async def close(self) -> None:
        """Take back what was told, and follow no more."""
        await super().close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._take_back(self._told), _LIMIT)

    async def _run(self) -> None:
        while True:
            await self._rest(_RETRY if self.problem else None)
            domains = self._domains()
            await self._take_back(self._told - domains.keys())
            try:
                for interface, names in domains.items():
                    await self._tell(interface, names)
            except (ResolvedError, OSError) as error:
                if self.problem != str(error):
                    _log.error("%s", error)
                self.problem = str(error)
            else:
                self.problem = None

    async def _tell(self, interface: str, domains: Sequence[str]) -> None:
        self._told.add(interface)
        await self._command(["dns", interface, self._server])
        await self._command(["domain", interface, *(f"~{domain}" for domain in domains)])
        for setting, value in _PLAIN:
            await self._command([setting, interface, value])

    async def _take_back(self, interfaces: set[str]) -> None:
        for interface in sorted(interfaces):
            self._told.discard(interface)
            with suppress(ResolvedError, OSError):  # it is gone, and its settings with it
                await self._command(["revert", interface])


async def run_resolvectl(arguments: Sequence[str]) -> None:
    """Run it to its end; ResolvedError unless that is 0, and soon."""
    try:
        process = await asyncio.create_subprocess_exec(
            _PROGRAM,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ResolvedError(f"resolved: there is no {_PROGRAM}: set smegmesh_dns_resolved to false") from None
    try:
        _out, said = await asyncio.wait_for(process.communicate(), _LIMIT)
    except asyncio.TimeoutError:
        raise ResolvedError(f"resolved: {_PROGRAM} {' '.join(arguments)}: not done within {_LIMIT:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        what = said.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise ResolvedError(f"resolved: {_PROGRAM} {' '.join(arguments)}: {what[0]}")
