"""Keeps a mesh's interface as its view says: view -> change of the plan -> diff -> apply, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from ipaddress import IPv6Network

from smegmesh.control.exposition import Histogram
from smegmesh.daemon.hooks import HookError
from smegmesh.daemon.host import Host
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.resolver import outside
from smegmesh.daemon.signal import Signal
from smegmesh.daemon.static_peers import prepare_static_peers
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, Endpoint, PlaneError
from smegmesh.dataplane.reconcile import SILENT, Difference, Reconciler
from smegmesh.dataplane.system import mesh_mtu
from smegmesh.declaration import Declaration, StaticPeer
from smegmesh.gossip.view import View
from smegmesh.routing.endpoints import FAMILIES
from smegmesh.routing.plan import Allowed, LocalPolicy, PeerPlan, Plan, PlanChange
from smegmesh.routing.planner import Planner
from smegmesh.routing.preshared import Keyring
from smegmesh.routing.tables import MARK
from smegmesh.store import Device, StoreError
from smegmesh.store.keys import HostKeys

CHECK_INTERVAL = 60.0  # seconds between comparisons with the interface itself
_RETRY = (1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after the first, second, … failure in a row
_RESOLVE_RETRY = 5.0  # seconds, while a name does not resolve
_APPLY_TIMES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds, for metrics
_KEPT_REPAIRS = 20
_PATIENCE = 3.0  # seconds for which an interface that exists may stay as it is until the view is that of the others


class Interface:
    """Runs until closed. `on_up(created)` is called when the interface has come up, `on_state` when it failed, is as
    planned again, or serves no more, `on_rotated` with the tunnel keys of peers that had another before; `prepare` is
    awaited before one is made, and while it raises HookError there is none.
    `allowed` is what members carry beyond the mesh.

    An interface that exists is adopted, whatever its port, MTU and peers, but not before `informed`
    was called: what an agent that was killed had stored may lack the newest members, and it would take
    away tunnels that are in use. `close` leaves the interface as it is. What was made is noted in the
    store, for whoever has to take it down.
    """

    def __init__(
        self,
        host: Host,
        declaration: Declaration,
        port: int,
        view: Callable[[], View],
        allowed: Callable[[], Allowed],
        on_up: Callable[[bool], None],
        on_state: Callable[[], None],
        on_rotated: Callable[[Collection[bytes]], None],
        log: NodeLogger,
        prepare: Callable[[], Awaitable[None]],
        keyring: Keyring,
    ) -> None:
        self.device = declaration.interface
        self.port = port
        self.problem: str | None = None
        self.apply_times = Histogram(_APPLY_TIMES)  # of what was planned otherwise: how long until the device had it
        self.keys = host.keys  # those that the device has, once there is one
        self._owed: HostKeys | None = None  # those that it could not take
        self._host = host
        self._record = Device(declaration.interface, declaration.mesh, host.plane.name)
        self._recorded = False
        self._declared_mtu = declaration.mtu
        self._policy = LocalPolicy(
            declaration.role, declaration.keepalive, keyring=keyring
        )  # families: of the last look
        self._static_peers: tuple[StaticPeer, ...] | None = declaration.static_peers  # None once they are in the policy
        self._view = view
        self._allowed = allowed
        self._on_up = on_up
        self._on_state = on_state
        self._on_rotated = on_rotated
        self._log = log
        self._prepare = prepare
        self._prepared = False  # for the interface that is to be made next
        self._planner: Planner | None = None
        self._pending: Mapping[bytes, PeerPlan | None] = {}  # peers that may not be as planned yet
        self._successors: Mapping[bytes, bytes] = {}  # of them, tunnel keys with the ones before them
        self._reconciler: Reconciler | None = None
        self._dirty = Signal()
        self._informed = Signal()
        self._idle = asyncio.Event()
        self._device_lock = asyncio.Lock()
        self._failures = 0
        self._repaired: deque[tuple[float, str]] = deque(maxlen=_KEPT_REPAIRS)  # when, and what
        self._adopts: bool | None = None  # whether there was one with peers at the start; None: nobody looked yet
        self._task: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the interface is there and no apply has failed since."""
        return self._reconciler is not None and self.problem is None

    @property
    def stands(self) -> bool:
        """Whether the interface is there, if perhaps not as it should be."""
        return self._reconciler is not None

    @property
    def serves(self) -> bool:
        """Whether packets get through it, as far as is known; one that is still to be adopted carries them, too."""
        return self.problem is None and (self._reconciler is not None or self._adopts is not False)

    def start(self) -> None:
        """Begin; the interface comes up as soon as it can."""
        self._dirty.set()
        self._task = asyncio.create_task(self._run(), name=f"interface {self.device}")

    def follow(self, declaration: Declaration) -> None:
        """Take what a running interface can take: the keepalive, and static peers."""
        self._policy = replace(self._policy, role=declaration.role, keepalive=declaration.keepalive)
        self._static_peers = declaration.static_peers
        self._idle.clear()
        self._dirty.set()

    def take_keyring(self, keyring: Keyring) -> None:
        """Take the preshared keys that this node shares with others now."""
        self._policy = replace(self._policy, keyring=keyring)
        self._dirty.set()

    def view_changed(self) -> None:
        """There is another view to follow, or something else beyond the mesh."""
        # Until it is up, each try takes the view of its time, and is not made sooner for another: it may run hooks.
        if self._reconciler is not None:
            self._dirty.set()

    def informed(self) -> None:
        """The view is what the others know, too."""
        self._informed.set()

    async def settled(self) -> None:
        """Wait until what was asked for was tried."""
        await self._idle.wait()

    async def renew(self, key: bytes) -> None:
        """Begin a new session with a WireGuard peer (tunnel key), which may have lost the one we hold."""
        async with self._device_lock:
            if self._reconciler is None:
                return
            try:
                await in_thread(self._reconciler.renew, key)
            except (PlaneError, OSError) as error:
                self._log.warning("session not renewed: %s", error)

    async def rekey(self) -> None:
        """Take the host's tunnel key of now; one that could not be set is set with the next repair."""
        keys = self._host.keys
        async with self._device_lock:
            try:
                if self._reconciler is not None:
                    await in_thread(self._reconciler.rekey, keys.tunnel_private)
            except (PlaneError, OSError) as error:
                self._owed = keys
                self._failed(str(error))
                self._dirty.set()
            else:
                self.keys, self._owed = keys, None

    async def state(self) -> DeviceState | None:
        """The device as it is, None if there is none."""
        async with self._device_lock:
            if self._reconciler is None:
                return None
            try:
                return await in_thread(self._reconciler.state)
            except (PlaneError, OSError):
                return None

    def repaired(self, within: float) -> list[str]:
        """What others changed and had to be repaired in the last so many seconds, oldest first."""
        since = self._host.clock() - within
        return [what for when, what in self._repaired if when >= since]

    async def compare(self) -> list[Difference]:
        """How the interface differs from the plan now; nothing of one that does not stand."""
        async with self._device_lock:
            if self._reconciler is None:
                return []
            try:
                return await in_thread(self._reconciler.compare)
            except (PlaneError, OSError) as error:
                return [Difference(str(error))]

    @property
    def mtu(self) -> int | None:
        """What the interface is to have, None while there is none."""
        return self._reconciler.mtu if self._reconciler is not None else None

    async def close(self) -> None:
        """Stop following; when this returns nobody works on the device any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        async with self._device_lock:
            made, self._reconciler = self._reconciler is not None, None
        if made:
            try:
                self._note()
            except StoreError as error:
                self._log.error("%s", error)

    async def _run(self) -> None:
        self._adopts = await in_thread(self._carries)
        self._on_state()
        if self._adopts:
            await self._informed.wait(_PATIENCE)
        check_at = self._host.clock() + CHECK_INTERVAL
        while True:
            await self._dirty.wait(self._pause(check_at))
            checking = self._host.clock() >= check_at or self._failures > 0
            if checking:
                check_at = self._host.clock() + CHECK_INTERVAL
            try:
                await self._follow(checking)
            except Exception as error:  # a fault of ours, told and tried again like any other: nobody else follows
                self._log.exception("interface %s could not be followed", self.device)
                self._failed(f"interface {self.device}: unexpected {type(error).__name__}: see `journalctl -u smegd`")
                self._planner, self._pending = None, {}  # may be half way between two views; the next try checks all
            if not self._dirty.is_set():
                self._idle.set()

    def _pause(self, check_at: float) -> float:
        if self._failures:
            return _RETRY[min(self._failures, len(_RETRY)) - 1]
        until_check = max(check_at - self._host.clock(), 0.0)
        return min(until_check, _RESOLVE_RETRY) if self._pending else until_check

    async def _follow(self, checking: bool) -> None:
        """Bring the interface up, or have it follow the view; a failure is kept and tried again."""
        try:
            if checking:
                await self._drop_if_gone()
            if checking or self._reconciler is None:
                await self._look_at_families()
            if self._static_peers is not None:
                await self._take_static_peers(self._static_peers)
            if self._reconciler is None:
                await self._bring_up()
            else:
                await self._apply(self._reconciler, checking)
            self._note()
        except (PlaneError, StoreError, HookError, OSError) as error:
            self._failed(str(error))
            return
        if self._failures:
            self._log.info("interface %s is as planned again", self.device)
        if checking and self._owed is not None:
            self.keys, self._owed = self._owed, None
        before, self.problem, self._failures = self.problem, None, 0
        if before is not None:
            self._on_state()

    async def _drop_if_gone(self) -> None:
        """Somebody took the interface away: it is made again as at the start, hooks included."""
        async with self._device_lock:
            if self._reconciler is not None and await in_thread(self._host.system.link, self.device) is None:
                self._log.warning("interface %s was gone", self.device)
                self._reconciler, self._adopts = None, False
                self._on_state()

    async def _look_at_families(self) -> None:
        """Which endpoints of others are any good here; on a host that has no address yet, all."""
        meshes = {self.device, *(device.name for device in self._host.store.devices())}
        families = await in_thread(self._host.system.families, meshes)
        self._policy = replace(self._policy, families=families or FAMILIES)

    async def _take_static_peers(self, declared: tuple[StaticPeer, ...]) -> None:
        """With their preshared keys, which are made where they are missing."""
        ready = await in_thread(prepare_static_peers, self._host.directories.state, self._record.mesh, declared)
        self._policy = replace(self._policy, static_peers=ready)
        if self._static_peers is declared:
            self._static_peers = None

    async def _bring_up(self) -> None:
        if not self._prepared and not await in_thread(self._exists):
            await self._prepare()
            self._prepared = True
        self._planner = Planner(self._view(), self._policy, self._allowed())
        plan = self._planner.plan
        endpoints, unresolved = await self._resolve(plan.peers, plan.routes)
        async with self._device_lock:
            created = await in_thread(self._make, plan, endpoints)
        self._prepared = False
        self._pending = unresolved
        self._dirty.set()  # the view may have changed meanwhile
        self._log.info("interface %s %s", self.device, "created" if created else "adopted")
        self._on_up(created)

    async def _apply(self, reconciler: Reconciler, checking: bool) -> None:
        """O(peers that changed or whose endpoint does not resolve); with `checking`, all peers."""
        planner, change = self._plan_change()
        self._pending, self._successors = change.peers, change.successors
        plan = planner.plan if checking else None
        endpoints, unresolved = await self._resolve(change.peers if plan is None else plan.peers, change.routes)
        begun = self._host.clock()
        async with self._device_lock:
            await in_thread(reconciler.apply, change, endpoints)
            if change.peers:
                self.apply_times.observe(self._host.clock() - begun)
            repaired = [] if plan is None else await in_thread(reconciler.check, plan, endpoints)
        self._pending, self._successors = unresolved, {}
        if change.successors:
            self._on_rotated(change.successors.keys())
        for what in repaired:
            self._log.warning("repaired: %s", what)
            if SILENT not in what:
                self._repaired.append((self._host.clock(), what))

    def _plan_change(self) -> tuple[Planner, PlanChange]:
        """What the plan says otherwise by the view of now, with what may not be carried out of what it said before."""
        view = self._view()
        if self._planner is None:
            self._planner = Planner(view, self._policy, self._allowed())
        change = self._planner.follow(view, self._policy, self._allowed())
        successors = {**self._successors, **change.successors}
        return self._planner, replace(change, peers={**self._pending, **change.peers}, successors=successors)

    async def _resolve(
        self, peers: Mapping[bytes, PeerPlan | None], routes: frozenset[IPv6Network]
    ) -> tuple[dict[str, Endpoint], dict[bytes, PeerPlan | None]]:
        """The addresses of these peers' endpoints, and the peers whose endpoint has none."""
        named = {key: peer.endpoint for key, peer in peers.items() if peer is not None and peer.endpoint is not None}
        resolved = await self._host.resolver.resolve(set(named.values()), self._policy.families)
        unresolved = {key: peers[key] for key, endpoint in named.items() if endpoint not in resolved}
        return outside(routes | self._host.routes.overlay(), resolved), unresolved

    def _carries(self) -> bool:
        """Whether the interface exists and has peers."""
        try:
            return bool(self._host.plane.dump(self.device).peers)
        except (PlaneError, OSError):
            return False

    def _exists(self) -> bool:
        try:
            self._host.plane.dump(self.device)
        except (PlaneError, OSError):
            return False
        return True

    def _make(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> bool:
        """In a worker thread, to its end even if nobody waits any more; whether the interface was created."""
        reconciler = self._make_reconciler(endpoints)
        created = reconciler.bring_up(plan, endpoints)
        self._reconciler = reconciler
        return created

    def _make_reconciler(self, endpoints: Mapping[str, Endpoint]) -> Reconciler:
        hosts = [address for address, _port in endpoints.values()]
        mtu = self._declared_mtu or mesh_mtu(self._host.system.underlay_mtu(hosts))
        keys = self.keys = self._host.keys
        settings = DeviceSettings(private_key=keys.tunnel_private, listen_port=self.port, fwmark=MARK)
        return Reconciler(self._host.plane, self._host.system, self.device, settings, mtu, former=keys.former)

    def _note(self) -> None:
        if not self._recorded:
            self._host.store.keep_device(self._record)
            self._recorded = True

    def _failed(self, problem: str) -> None:
        before, self.problem = self.problem, problem
        self._failures += 1
        if problem != before:
            self._log.error("%s", problem)
            self._on_state()
