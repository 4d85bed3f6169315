"""What the host needs to forward, put in place and taken back as interfaces come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from daemons import eventually

from smegmesh.daemon.forwarding import Controls, Forwarding
from smegmesh.dataplane.plane import PlaneError
from smegmesh.store import Store, StoreError, open_store


class HostState:
    """Sysctls and firewall of a host, and what was done to them in order."""

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.peers: list[str] = []
        self.forwards = False
        self.refusal: str | None = None
        self.fault: Exception | None = None
        self.drops: list[str] = []
        self.done: list[str] = []

    def install(self, devices: Collection[str]) -> None:
        if self.fault:
            raise self.fault
        if self.refusal:
            raise PlaneError(self.refusal)
        self.done.append(f"table {' '.join(devices)}")

    def remove(self) -> None:
        self.done.append("no table")

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
async def following(host: HostState, store: Store) -> AsyncIterator[Forwarding]:
    controls = Controls(host.install, host.remove, host.enable, host.restore, lambda: host.drops)
    forwarding = Forwarding(store, lambda: host.devices, lambda: host.peers, controls, retry=0.01)
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
        assert host.done == ["table smeg-a smeg-b"]
        host.peers = ["smeg-a"]
        await act(forwarding)
        await act(forwarding)
        assert host.done[1:] == ["table smeg-a smeg-b", "forward"] * 2
        assert store.sysctls() == {"forwarding": "0"}
        host.devices, host.peers = [], []
        await act(forwarding)
        assert host.done[-2:] == ["restore", "no table"]
        assert store.sysctls() == {}


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
        assert host.done == ["table smeg-a", "forward"]


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
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert forwarding.obstacles == [], "who forwards nothing is not hindered"
        host.peers = ["smeg-a"]
        await act(forwarding)
        assert forwarding.obstacles == [
            "the firewall chain ip6 filter FORWARD drops what is forwarded: let it accept smeg-a"
        ]
        host.drops = []
        await act(forwarding)
        assert forwarding.obstacles == []
        assert forwarding.problem is None


async def test_originals_are_kept_although_the_disk_was_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    host = HostState()
    host.devices = host.peers = ["smeg-a"]
    keep = store.keep_sysctls
    monkeypatch.setattr(store, "keep_sysctls", full)
    async with following(host, store) as forwarding:
        await act(forwarding)
        assert forwarding.problem == "no space left"
        monkeypatch.setattr(store, "keep_sysctls", keep)
        await eventually(lambda: forwarding.problem is None, "it is tried again")
    assert store.sysctls() == {"forwarding": "0"}


def full(_originals: Mapping[str, str]) -> None:
    raise StoreError("no space left")


async def act(forwarding: Forwarding) -> None:
    forwarding.changed()
    await forwarding.settled()
