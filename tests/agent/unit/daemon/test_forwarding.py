"""What the host needs to forward, put in place and taken back as interfaces come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv6Network
from pathlib import Path

import pytest
from daemons import eventually

from smegmesh.daemon.forwarding import Controls, Forwarding, Pauses
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.policy import MemoryPolicy, Outcome
from smegmesh.routing import tables
from smegmesh.routing.tables import HostPlan, Route, Rule
from smegmesh.store import Store, StoreError, open_store

DEFAULT = IPv6Network("::/0")


class HostState:
    """Sysctls, firewall, tables and rules of a host, and what was done to them in order."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.meshes: frozenset[str] = frozenset()
        self.policy = MemoryPolicy()
        self.table = ""
        self.peers: list[str] = []
        self.forwards = False
        self.refusal: str | None = None
        self.fault: Exception | None = None
        self.drops: list[str] = []
        self.done: list[str] = []
        self.worked: list[bool] = []

    def plan(self) -> HostPlan:
        """Each interface, its route in a table of its own and the rule to it."""
        return HostPlan(
            routes={(number, DEFAULT): Route(device) for number, device in enumerate(self.devices, 1)},
            rules=frozenset(Rule(number, number, device=device) for number, device in enumerate(self.devices, 1)),
            forwarding={device: tables.Forwarding(self.meshes) for device in self.devices},
        )

    def install(self, plan: Mapping[str, tables.Forwarding]) -> None:
        if self.fault:
            raise self.fault
        if self.refusal:
            raise PlaneError(self.refusal)
        self.table = f"table {' '.join(sorted(plan))}"
        self.done.append(self.table)

    def remove(self) -> None:
        self.table = ""
        self.done.append("no table")

    def ensure(self, plan: HostPlan) -> Outcome:
        outcome = self.policy.ensure(plan)
        if outcome.changed:
            self.done.append("rules")
        return outcome

    def clear(self) -> None:
        self.policy.clear()
        self.done.append("no rules")

    def enable(self) -> dict[str, str]:
        before = {} if self.forwards else {"forwarding": "0"}
        self.forwards = True
        self.done.append("forward")
        return before

    def restore(self, originals: Mapping[str, str]) -> None:
        if originals:
            assert originals == {"forwarding": "0"}
            self.forwards = False
            self.done.append("restore")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made, _ = open_store(tmp_path / "state.db")
    yield made
    made.close()


@asynccontextmanager
async def following(host: HostState, store: Store, check: float = 60.0) -> AsyncIterator[Forwarding]:
    controls = Controls(
        install=host.install,
        remove=host.remove,
        listing=lambda: host.table,
        enable=host.enable,
        restore=host.restore,
        foreign_drops=lambda: host.drops,
        ensure=host.ensure,
        clear=host.clear,
    )
    pauses = Pauses(retry=0.01, missing=0.01, check=check)
    forwarding = Forwarding(
        store, host.plan, lambda: host.peers, controls, pauses, lambda: host.worked.append(forwarding.works)
    )
    forwarding.start()
    try:
        yield forwarding
    finally:
        await forwarding.close()


async def test_from_a_client_to_a_peer_to_nothing(store: Store) -> None:
    host = HostState()
    async with following(host, store) as forwarding:
        host.devices = ["smeg-b", "smeg-a"]
        await act(forwarding)
        assert host.done == ["table smeg-a smeg-b", "rules"]
        host.peers = ["smeg-a"]
        await act(forwarding)
        await act(forwarding)
        assert host.done[2:] == ["forward"] * 2, "what is as it should be is not made again"
        assert store.sysctls() == {"forwarding": "0"}
        host.meshes = frozenset({"smeg-b"})
        await act(forwarding)
        assert host.done[4:] == ["table smeg-a smeg-b", "forward"]
        host.devices, host.peers = [], []
        await act(forwarding)
        assert host.done[-3:] == ["restore", "no rules", "no table"]
        assert store.sysctls() == {}
        assert host.policy.rules == frozenset() and host.policy.routes == {}


async def test_it_works_until_the_first_try_fails_and_for_good_once_one_succeeded(store: Store) -> None:
    host = HostState()
    async with following(host, store) as forwarding:
        host.devices, host.peers, host.refusal = ["smeg-a"], ["smeg-a"], "no nft"
        forwarding.changed()
        await eventually(lambda: host.worked == [False], "it is told that it does not")
        host.refusal = None
        await eventually(lambda: host.worked == [False, True], "and that it does")
        host.refusal, host.devices = "no nft", ["smeg-a", "smeg-b"]
        forwarding.changed()
        await eventually(lambda: forwarding.problem is not None, "another table is refused")
        assert host.worked == [False, True]


async def test_what_waits_for_an_interface_is_tried_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    host = HostState()
    host.devices, host.policy.absent = ["smeg-a"], {"smeg-a"}
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert host.policy.routes == {} and forwarding.problem is None
        host.policy.absent = set()
        await eventually(lambda: len(host.policy.routes) == 1, "its route")
    assert "repaired" not in caplog.text, "nobody had changed anything"


async def test_foreign_changes_are_repaired_and_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    host = HostState()
    host.devices = ["smeg-a"]
    async with following(host, store, check=0.01) as forwarding:
        await act(forwarding)
        host.policy.rules = frozenset()
        host.table = "table smeg-a of somebody else"
        await eventually(lambda: len(host.policy.rules) == 1 and host.table == "table smeg-a", "both are back")
        await eventually(lambda: caplog.text.count("repaired: ") == 2, "both are told")
    assert "repaired: rule 1 to table 1 was missing" in caplog.text
    assert "repaired: the nft table smegmesh was not as it was made" in caplog.text


async def test_it_is_undone_by_a_later_start(store: Store) -> None:
    host = HostState()
    host.devices = host.peers = ["smeg-a"]
    async with following(host, store) as forwarding:
        await act(forwarding)
    assert host.forwards, "a stop changes nothing"
    host.devices = host.peers = []
    async with following(host, store) as forwarding:
        await act(forwarding)
    assert not host.forwards


async def test_a_refusal_is_told_and_tried_again(store: Store) -> None:
    host = HostState()
    host.devices = host.peers = ["smeg-a"]
    host.refusal = "nft is not installed"
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert forwarding.problem == host.refusal
        assert not host.forwards, "nothing is forwarded without the table"
        host.refusal = None
        await eventually(lambda: forwarding.problem is None, "it is tried again")
        assert host.done == ["table smeg-a", "forward", "rules"]


async def test_a_fault_of_ours_is_told_and_tried_again(store: Store) -> None:
    host = HostState()
    host.devices = host.peers = ["smeg-a"]
    host.fault = ValueError("what nft should not have said")
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert "unexpected ValueError" in (forwarding.problem or "")
        host.fault = None
        await eventually(lambda: forwarding.problem is None, "it is tried again")


async def test_a_foreign_firewall_in_the_way_is_told(store: Store) -> None:
    host = HostState()
    host.devices, host.drops = ["smeg-a"], ["ip6 filter FORWARD"]
    async with following(host, store, check=0.01) as forwarding:
        await act(forwarding)
        assert forwarding.obstacles == [], "who forwards nothing is not hindered"
        host.peers = ["smeg-a"]
        await act(forwarding)
        assert forwarding.obstacles == [
            "the firewall chain ip6 filter FORWARD drops what is forwarded: let it accept smeg-a"
        ]
        host.drops = []
        await eventually(lambda: forwarding.obstacles == [], "it is looked again")
        assert forwarding.problem is None


async def test_originals_are_kept_although_the_disk_was_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostState()
    host.devices = host.peers = ["smeg-a"]
    keep = store.keep_sysctls
    monkeypatch.setattr(store, "keep_sysctls", full)
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert forwarding.problem == "no space left: free some"
        monkeypatch.setattr(store, "keep_sysctls", keep)
        await eventually(lambda: forwarding.problem is None, "it is tried again")
    assert store.sysctls() == {"forwarding": "0"}


def full(_originals: Mapping[str, str]) -> None:
    raise StoreError("no space left", "free some")


async def act(forwarding: Forwarding) -> None:
    forwarding.changed()
    await forwarding.settled()
