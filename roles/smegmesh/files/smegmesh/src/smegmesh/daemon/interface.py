"""Keeps a mesh's interface as its view says: view -> plan -> diff -> apply, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.signal import Signal
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, PlaneError
from smegmesh.dataplane.reconcile import Reconciler
from smegmesh.dataplane.system import mesh_mtu
from smegmesh.declaration import Declaration
from smegmesh.gossip.view import View
from smegmesh.routing.plan import LocalPolicy, Plan, make_plan

CHECK_INTERVAL = 60.0  # seconds between comparisons with the interface itself
_RETRY = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after the first, second, … failure in a row
_RESOLVE_RETRY = 5.0  # seconds, while a name does not resolve


_Result = TypeVar("_Result")


class Interface:
    """Runs until closed. `on_up(created)` is called whenever the interface has come up."""

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        port: int,
        view: Callable[[], View],
        on_up: Callable[[bool], None],
        log: NodeLogger,
    ) -> None:
        self.device = declaration.interface
        self.port = port
        self.problem: str | None = None
        self._host = host
        self._declared_mtu = declaration.mtu
        self._policy = LocalPolicy(declaration.role, declaration.keepalive)
        self._view = view
        self._on_up = on_up
        self._log = log
        self._reconciler: Reconciler | None = None
        self._dirty = Signal()
        self._device_lock = asyncio.Lock()
        self._failures = 0
        self._unresolved = False
        self.attempted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the interface is there and no apply has failed since."""
        return self._reconciler is not None and self.problem is None

    def start(self) -> None:
        """Begin; the interface comes up as soon as it can."""
        self._dirty.set()
        self._task = asyncio.create_task(self._run(), name=f"interface {self.device}")

    def set_policy(self, declaration: Declaration) -> None:
        """Take what may change without a new interface."""
        self._policy = LocalPolicy(declaration.role, declaration.keepalive)
        self._dirty.set()

    def view_changed(self) -> None:
        """There is another view to follow."""
        self._dirty.set()

    async def renew(self, key: bytes) -> None:
        """Begin a new session with a WireGuard peer (tunnel key), which may have lost the one we hold."""
        reconciler = self._reconciler
        if reconciler is None:
            return
        async with self._device_lock:
            try:
                await _shielded(reconciler.renew, key)
            except PlaneError as error:
                self._log.warning("session not renewed: %s", error)

    async def state(self) -> DeviceState | None:
        """The device as it is, None if there is none."""
        reconciler = self._reconciler
        if reconciler is None:
            return None
        async with self._device_lock:
            try:
                return await asyncio.to_thread(reconciler.state)
            except PlaneError:
                return None

    async def close(self, take_down: bool) -> None:
        """Stop following; with `take_down` the interface goes too, else it is kept for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        reconciler, self._reconciler = self._reconciler, None
        if take_down:
            async with self._device_lock:
                if reconciler is not None:
                    await asyncio.to_thread(reconciler.take_down)
                else:
                    await asyncio.to_thread(self._host.plane.delete, self.device)

    async def _run(self) -> None:
        check_at = self._host.clock() + CHECK_INTERVAL
        while True:
            await self._dirty.wait(self._pause(check_at))
            checking = self._host.clock() >= check_at or self._failures > 0
            if checking:
                check_at = self._host.clock() + CHECK_INTERVAL
            await self._follow(checking)
            self.attempted.set()

    def _pause(self, check_at: float) -> float:
        if self._failures:
            return _RETRY[min(self._failures, len(_RETRY)) - 1]
        until_check = max(check_at - self._host.clock(), 0.0)
        return min(until_check, _RESOLVE_RETRY) if self._unresolved else until_check

    async def _follow(self, checking: bool) -> None:
        """Bring the interface up, or apply the current plan to it; a failure is kept and tried again."""
        plan = make_plan(self._view(), self._policy)
        wanted = {peer.endpoint for peer in plan.peers.values() if peer.endpoint is not None}
        endpoints = await self._host.resolver.resolve(wanted)
        self._unresolved = len(endpoints) < len(wanted)
        try:
            async with self._device_lock:
                created, repaired = await _shielded(self._apply, plan, endpoints, checking)
        except PlaneError as error:
            self._failed(str(error))
            return
        if self._failures:
            self._log.info("interface %s is up again", self.device)
        self.problem, self._failures = None, 0
        for what in repaired:
            self._log.warning("repaired: %s", what)
        if created is not None:
            self._log.info("interface %s %s", self.device, "created" if created else "adopted")
            self._on_up(created)

    def _apply(
        self, plan: Plan, endpoints: dict[str, tuple[str, int]], checking: bool
    ) -> tuple[bool | None, list[str]]:
        """In a worker thread. Whether the interface was created (None: it was up), and what was repaired."""
        if self._reconciler is None:
            reconciler = self._make_reconciler(endpoints)
            created = reconciler.bring_up(plan, endpoints)
            self._reconciler = reconciler
            return created, []
        self._reconciler.apply(plan, endpoints)
        return None, self._reconciler.check() if checking else []

    def _make_reconciler(self, endpoints: dict[str, tuple[str, int]]) -> Reconciler:
        hosts = [address for address, _ in endpoints.values()]
        mtu = self._declared_mtu or mesh_mtu(self._host.system.underlay_mtu(hosts))
        settings = DeviceSettings(private_key=self._host.keys.tunnel_private, listen_port=self.port)
        return Reconciler(self._host.plane, self._host.system, self.device, settings, mtu)

    def _failed(self, problem: str) -> None:
        if problem != self.problem:
            self._log.error("%s", problem)
        self.problem = problem
        self._failures += 1


async def _shielded(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Run in a worker thread; a cancelled caller still waits for it, so that two never work on one device."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
