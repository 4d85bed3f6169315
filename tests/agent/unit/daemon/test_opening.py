"""Ports in the host's own firewall, kept open as meshes come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
from daemons import eventually

from smegmesh.daemon import opening
from smegmesh.daemon.opening import Opening
from smegmesh.dataplane.opening import Opened, Port
from smegmesh.dataplane.plane import PlaneError

CHAIN = "inet filter input"
WIREGUARD, LINKS = Port("udp", 51820), Port("tcp", 4000)


class Host:
    """A firewall, and what the agent wants of it."""

    def __init__(self) -> None:
        self.wanted: list[Port] = []
        self.open: dict[str, set[Port]] = {CHAIN: set()}
        self.asked = 0
        self.refusal: Exception | None = None
        self.drops: tuple[str, ...] = ()

    def ensure(self, chains: Sequence[str], ports: Collection[Port]) -> Opened:
        self.asked += 1
        if self.refusal:
            raise self.refusal
        wanted = {chain: set(ports if chain in chains else ()) for chain in self.open}
        changed = () if wanted == self.open else ("something",)
        self.open = wanted
        return Opened(changed, self.drops)


@asynccontextmanager
async def following(host: Host, *chains: str) -> AsyncIterator[Opening]:
    followed = Opening(chains, lambda: host.wanted, host.ensure)
    followed.start()
    try:
        yield followed
    finally:
        await followed.close()


async def test_ports_are_open_while_they_are_wanted() -> None:
    host = Host()
    async with following(host, CHAIN) as followed:
        host.wanted = [WIREGUARD, LINKS]
        followed.changed()
        await followed.settled()
        assert host.open == {CHAIN: {WIREGUARD, LINKS}}
        host.wanted = []
        followed.changed()
        await followed.settled()
        assert host.open == {CHAIN: set()}
    assert followed.problem is None


async def test_a_stop_closes_nothing() -> None:
    host = Host()
    async with following(host, CHAIN) as followed:
        host.wanted = [WIREGUARD]
        followed.changed()
        await followed.settled()
    assert host.open == {CHAIN: {WIREGUARD}}


async def test_what_was_flushed_is_put_back(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(opening, "_CHECK", 0.01)
    host = Host()
    async with following(host, CHAIN) as followed:
        host.wanted = [WIREGUARD]
        followed.changed()
        await followed.settled()
        host.open = {CHAIN: set()}
        await eventually(lambda: host.open == {CHAIN: {WIREGUARD}}, "the port is open again")
        await eventually(lambda: "repaired: something" in caplog.text, "that is said")


async def test_without_chains_leftovers_go_once_and_nothing_is_a_problem() -> None:
    host = Host()
    host.open = {CHAIN: {WIREGUARD}}
    host.wanted = [WIREGUARD]
    async with following(host) as followed:
        followed.changed()
        await followed.settled()
        assert (host.open, host.asked) == ({CHAIN: set()}, 1)
        host.refusal = PlaneError("nft is not installed")
        followed.changed()
        await followed.settled()
        assert followed.problem is None


@pytest.mark.parametrize("refusal", [PlaneError("no such chain"), KeyError("chain")])
async def test_a_refusal_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    monkeypatch.setattr(opening, "_RETRY", 0.01)
    host = Host()
    host.wanted = [WIREGUARD]
    host.refusal = refusal
    async with following(host, CHAIN) as followed:
        followed.changed()
        await followed.settled()
        assert followed.problem is not None and followed.problem.startswith("firewall: ")
        host.refusal = None
        await eventually(lambda: followed.problem is None, "the second try succeeds")
        assert host.open == {CHAIN: {WIREGUARD}}


async def test_chains_of_others_that_drop_are_told() -> None:
    host = Host()
    host.wanted = [WIREGUARD, LINKS]
    host.drops = ("ip filter INPUT",)
    async with following(host, CHAIN) as followed:
        followed.changed()
        await followed.settled()
        assert followed.obstacles == [
            "the firewall chain ip filter INPUT drops what comes in: let it accept tcp 4000, udp 51820"
        ]
        host.drops = ()
        followed.changed()
        await followed.settled()
        assert followed.obstacles == []
