"""Keeps the agent's ports open in the host's own firewall, where agent.yml names chains of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from smegmesh.daemon.follower import Follower
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.opening import Opened, Port, open_ports
from smegmesh.dataplane.plane import PlaneError

_log = logging.getLogger(__name__)
_RETRY = 10.0
_CHECK = 60.0  # seconds; who loads the firewall anew takes the rules away


class Opening(Follower):
    """Follows which ports have to be open, and looks each minute whether they still are.

    Without chains it looks once: rules of a time when there were some are taken away. `problem` says why a port is not
    open, `obstacles` what of others may keep it closed all the same.
    """

    def __init__(
        self,
        chains: Sequence[str],
        ports: Callable[[], Collection[Port]],
        ensure: Callable[[Sequence[str], Collection[Port]], Opened] = open_ports,
    ) -> None:
        super().__init__("opening")
        self.problem: str | None = None
        self.obstacles: list[str] = []
        self._chains = tuple(chains)
        self._ports = ports
        self._ensure = ensure
        self._followed: frozenset[Port] | None = None  # None before it was done once

    async def _run(self) -> None:
        await self._dirty.wait(None)  # before that nobody knows the ports
        while True:
            try:
                await self._follow(frozenset(self._ports()))
            except (PlaneError, OSError) as error:
                self._note(f"firewall: {error}")
            except Exception as error:  # a fault of ours, told and tried again like any other: nobody else follows
                _log.debug("firewall could not be followed", exc_info=True)
                self._note(f"firewall: unexpected {type(error).__name__}: report it")
            else:
                self.problem = None
            await self._rest(self._pause())

    def _note(self, problem: str) -> None:
        if not self._chains:
            return  # nothing is asked for, so there need be no nft
        if self.problem != problem:
            _log.error("%s", problem)
        self.problem = problem

    def _pause(self) -> float | None:
        if not self._chains:
            return None
        return _RETRY if self.problem else _CHECK

    async def _follow(self, ports: frozenset[Port]) -> None:
        opened = await in_thread(self._ensure, self._chains, ports if self._chains else ())
        repaired = ports == self._followed
        self._followed = ports
        for what in opened.changed:
            _log.log(logging.WARNING if repaired else logging.INFO, "firewall: %s%s", "repaired: " * repaired, what)
        wanted = ", ".join(map(str, sorted(ports)))
        obstacles = [
            f"the firewall chain {chain} drops what comes in: let it accept {wanted}" for chain in opened.drops
        ]
        for obstacle in obstacles:
            if obstacle not in self.obstacles:
                _log.warning("%s", obstacle)
        self.obstacles = obstacles if self._chains else []
