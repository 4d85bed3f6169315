"""What the host as a whole needs beside its interfaces: sysctls, the nft table, routing tables and rules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from smegmesh.daemon.follower import Follower
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane import firewall
from smegmesh.dataplane.forwarding import enable_forwarding, restore_forwarding
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.policy import LinuxPolicy, Outcome
from smegmesh.routing import tables
from smegmesh.routing.tables import HostPlan
from smegmesh.store import Store, StoreError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Controls:
    """What is done to the host, from worker threads. Each raises PlaneError."""

    install: Callable[[Mapping[str, tables.Forwarding]], None] = firewall.install
    remove: Callable[[], None] = firewall.remove
    listing: Callable[[], str] = firewall.listing
    enable: Callable[[], dict[str, str]] = enable_forwarding
    restore: Callable[[Mapping[str, str]], None] = restore_forwarding
    foreign_drops: Callable[[], list[str]] = firewall.foreign_drops
    ensure: Callable[[HostPlan], Outcome] = LinuxPolicy().ensure
    clear: Callable[[], None] = LinuxPolicy().clear


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds until it is looked again: after a failure, while an interface is missing, when all is well."""

    retry: float = 10.0
    missing: float = 1.0
    check: float = 60.0


@dataclass(frozen=True, slots=True)
class _Table:
    """The nft table that was installed: for what, and how nft lists it."""

    plan: Mapping[str, tables.Forwarding]
    listing: str


class Forwarding(Follower):
    """Follows what the host should hold. `plan` says it, `peers` which mesh interfaces are those of peers.

    `problem` says why the host is not as it should be; `obstacles` what of others is in the way. What
    somebody else changed is repaired, and logged.

    It `works` until the first try fails, and for good once one has succeeded: what stands goes on forwarding, whatever
    fails later. `on_works` is called when that changes.
    """

    def __init__(
        self,
        store: Store,
        plan: Callable[[], HostPlan],
        peers: Callable[[], Collection[str]],
        controls: Controls | None = None,
        pauses: Pauses | None = None,
        on_works: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__("forwarding")
        self.problem: str | None = None
        self.works = True
        self._worked = False  # once
        self._on_works = on_works
        self.obstacles: list[str] = []
        self._store = store
        self._plan = plan
        self._peers = peers
        self._controls = controls or Controls()
        self._pauses = pauses or Pauses()
        self._originals: dict[str, str] = {}
        self._table: _Table | None = None  # None while, and after, that is in doubt
        self._held: HostPlan | None = None  # the plan that the kernel holds all of; None while, and after, in doubt
        self._missing: tuple[str, ...] = ()  # what waits for an interface
        self._forwards = False

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        await self._dirty.wait(None)  # before that nobody knows what the host should hold
        check_at = clock()
        while True:
            checking = self.problem is not None or clock() >= check_at
            if checking:
                check_at = clock() + self._pauses.check
            try:
                await self._apply(self._plan(), bool(self._peers()), checking)
            except (PlaneError, StoreError, OSError) as error:
                if self.problem != str(error):
                    _log.error("forwarding: %s", error)
                self.problem = str(error)
            except Exception as error:  # a fault of ours, told and tried again like any other: nobody else follows
                _log.exception("forwarding could not be followed")
                self.problem = f"forwarding: unexpected {type(error).__name__}: see `journalctl -u smegd`"
            else:
                self.problem, self._worked = None, True
            self._tell_works(self._worked)
            await self._rest(self._pause(check_at - clock()))

    def _tell_works(self, works: bool) -> None:
        if works != self.works:
            self.works = works
            self._on_works()

    def _pause(self, until_check: float) -> float | None:
        if self.problem:
            return self._pauses.retry
        if self._missing:
            return self._pauses.missing
        return max(until_check, 0.0) if self._table is not None else None

    async def _apply(self, plan: HostPlan, forward: bool, checking: bool) -> None:
        # The table first: from the moment packets are forwarded it says which, and before rules lead
        # replies elsewhere it marks them.
        if plan.forwarding:
            checking = await self._follow_table(plan.forwarding, checking) or checking
        if forward:
            await self._enable()
        else:
            await self._restore()
        if plan.forwarding:
            await self._follow_policy(plan)
            await self._look_for_obstacles(plan.forwarding, forward, checking)
        else:
            await self._undo()

    async def _follow_table(self, plan: Mapping[str, tables.Forwarding], checking: bool) -> bool:
        """Have the nft table be that of the plan; whether it had to be made."""
        before, self._table = self._table, None
        same = before is not None and before.plan == plan
        if before is not None and same and not (checking and await in_thread(self._controls.listing) != before.listing):
            self._table = before
            return False
        await in_thread(self._controls.install, plan)
        if same:
            _log.warning("repaired: the nft table %s was not as it was made", firewall.TABLE)
        self._table = _Table(plan, await in_thread(self._controls.listing))
        return True

    async def _follow_policy(self, plan: HostPlan) -> None:
        before, self._held = self._held, None
        outcome = await in_thread(self._controls.ensure, plan)
        if plan == before:
            for what in outcome.changed:
                _log.warning("repaired: %s", what)
        if outcome.missing != self._missing:
            for what in outcome.missing:
                _log.info("forwarding: %s", what)
        self._missing = outcome.missing
        if not outcome.missing:
            self._held = plan

    async def _undo(self) -> None:
        self._table, self._held, self._missing = None, None, ()
        self._forwards, self.obstacles = False, []
        await in_thread(self._controls.clear)
        await in_thread(self._controls.remove)

    async def _look_for_obstacles(self, devices: Collection[str], forward: bool, checking: bool) -> None:
        if not forward:
            self.obstacles = []
        elif checking or not self._forwards:
            self._tell(await in_thread(self._controls.foreign_drops), sorted(devices))
        self._forwards = forward

    def _tell(self, chains: list[str], devices: list[str]) -> None:
        obstacles = [
            f"the firewall chain {chain} drops what is forwarded: let it accept {', '.join(devices)}"
            for chain in chains
        ]
        for obstacle in obstacles:
            if obstacle not in self.obstacles:
                _log.warning("forwarding: %s", obstacle)
        self.obstacles = obstacles

    # The store is asked in the event loop alone: it takes one call at a time.

    async def _enable(self) -> None:
        self._originals = {**await in_thread(self._controls.enable), **self._originals}
        if self._originals:
            self._store.keep_sysctls(self._originals)
            self._originals = {}

    async def _restore(self) -> None:
        originals = {**self._originals, **self._store.sysctls()}
        await in_thread(self._controls.restore, originals)
        self._originals = {}
        for name in originals:
            self._store.forget_sysctl(name)
