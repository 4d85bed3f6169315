"""The addresses at which others reach this host: found, said, followed."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv6Network, ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from daemons import MESH, Agent, Make, Run, eventually

from smegmesh.daemon.discovery import Discovery, observed, outgoing
from smegmesh.daemon.journal import NodeLogger
from smegmesh.daemon.resolver import Resolver
from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.system import LinuxSystem, MemorySystem
from smegmesh.declaration.values import Bootstrap
from smegmesh.gossip.observed import Address

OVERLAY = IPv6Network("fd00::/64")
A, B, SIX = (ip_address(text) for text in ("198.18.0.1", "198.18.0.2", "2001:db8::6"))
LOG = NodeLogger(logging.getLogger("test"), {})


async def find_outgoing(system: MemorySystem, *bootstrap: str, before: tuple[Address, ...] = ()) -> tuple[Address, ...]:
    resolver = Resolver(lambda: 0.0, lambda _name: ["198.18.0.9", "2001:db8::9"])
    host: Any = SimpleNamespace(resolver=resolver, system=system, tunnels=False)
    declaration: Any = SimpleNamespace(bootstrap=[Bootstrap(text, text) for text in bootstrap])
    try:
        return await outgoing(host, declaration, lambda: [OVERLAY])(before)
    finally:
        resolver.close()


async def test_the_addresses_towards_all_that_the_bootstrap_names_resolve_to() -> None:
    system = MemorySystem()
    system.ways = {"198.18.0.9": str(A), "2001:db8::9": str(SIX), "198.18.0.8": str(A), "192.0.2.1": str(B)}
    assert await find_outgoing(system, "a.example:4000", "198.18.0.8:4000") == (A, SIX)
    assert await find_outgoing(system, "a.example:4000", before=(SIX, B)) == (SIX, A), "in the order of before"


async def test_without_bootstrap_or_a_way_to_it_the_address_towards_anywhere() -> None:
    system = MemorySystem()
    system.ways = {"192.0.2.1": str(A), "2001:db8::1": str(SIX), "127.0.0.1": "127.0.0.1", "fd00::1": "fd00::2"}
    for bootstrap in ([], ["127.0.0.1:4000"], ["[fd00::1]:4000"], ["198.18.0.3:4000"]):
        assert await find_outgoing(system, *bootstrap) == (A, SIX)
    assert await find_outgoing(MemorySystem(), before=(B,)) == (B,), "a host without a network for a moment"


async def test_an_address_within_the_overlay_is_never_one_of_the_host() -> None:
    system = MemorySystem()
    system.ways = {"198.18.0.9": "fd00::7", "2001:db8::9": "fe80::1", "192.0.2.1": "fd00::7"}
    assert await find_outgoing(system, "a.example:4000") == ()
    said: dict[bytes, Address] = {b"1": ip_address("fd00::7"), b"2": ip_address("fd00::7"), b"3": A, b"4": A}
    assert await observed(lambda: said, lambda: 3, lambda: [OVERLAY])(()) == (A,)


def test_the_host_itself_is_asked_without_a_packet() -> None:
    system = LinuxSystem()
    assert system.sources(["127.0.0.1", "::1"], 0) in (["127.0.0.1", "::1"], ["127.0.0.1"])
    assert system.sources(["255.255.255.255"], 0) == [], "a way that nobody may take"
    assert system.families([]) <= {4, 6}


async def test_it_looks_again_when_asked_and_tells_what_is_new_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.daemon.discovery._SETTLE", 0.0)
    looks: list[tuple[Address, ...]] = []
    answers: list[tuple[Address, ...] | PlaneError] = [(), (A,), (A,), PlaneError("not permitted"), (A, B)]
    found: list[tuple[Address, ...]] = []

    async def find(before: tuple[Address, ...]) -> tuple[Address, ...]:
        looks.append(before)
        answer = answers[len(looks) - 1]
        if isinstance(answer, PlaneError):
            raise answer
        return answer

    discovery = Discovery(find, (), lambda: found.append(discovery.addresses), LOG)
    discovery.start()
    problems = []
    for count in range(1, 6):
        await eventually(lambda count=count: len(looks) == count, "it looks")  # type: ignore[misc]
        await asyncio.sleep(0)
        problems.append(discovery.problem)
        discovery.look()
        if count == 5:
            await discovery.close()
    assert looks == [(), (), (A,), (A,), (A,)]
    assert found == [(A,), (A, B)]
    assert problems[0] is not None and "no endpoint" in problems[0]
    assert problems[1:] == [None, None, "not permitted", None]


def test_an_agent_says_what_it_finds_and_says_it_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smegmesh.daemon.discovery.INTERVAL", 0.05)
    monkeypatch.setattr("smegmesh.daemon.discovery._SETTLE", 0.0)

    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        one.declare(one)
        two.system.ways = {"127.0.0.1": str(A)}
        two.declare(one, endpoint=None, endpoint_discovery="outgoing", port=51999)
        await one.start()
        await two.start()
        await eventually(lambda: said(one, "p2") == [f"{A}:51999"], "the other knows it")
        assert entry(two).links == (f"{A}:{two.link_port}",)
        two.system.ways = {"127.0.0.1": str(B), "192.0.2.1": str(SIX)}
        await eventually(lambda: said(one, "p2") == [f"{B}:51999"], "it has moved")
        await two.stop()
        two.system.ways = {}
        await two.start()
        assert entry(two).endpoints == (f"{B}:51999",), "what it said before it was started anew"
        await asyncio.sleep(0.2)
        assert entry(two).endpoints == (f"{B}:51999",)
        assert two.mesh().problem is None
        two.system.ways = {"127.0.0.1": str(B)}
        two.declare(one, endpoint="198.18.0.7:9", endpoint_discovery="outgoing", port=51999)
        assert two.daemon is not None
        await two.daemon.reload()
        await eventually(lambda: said(one, "p2") == ["198.18.0.7:9", f"{B}:51999"], "what is declared comes first")
        assert entry(two).links == (f"198.18.0.7:{two.link_port}", f"{B}:{two.link_port}")
        two.declare(one, endpoint="198.18.0.7:9", port=51999)
        await two.daemon.reload()
        await eventually(lambda: said(one, "p2") == ["198.18.0.7:9"], "and static is what is declared alone")

    run(test)


def test_an_agent_that_nobody_sees_says_why_it_cannot_be_reached(run: Run) -> None:
    async def test(make: Make) -> None:
        one = make("p1")
        one.declare(endpoint=None, endpoint_discovery="observed")
        await one.start()
        await eventually(lambda: one.alive(1), "it is up")
        assert entry(one).endpoints == entry(one).links == ()
        assert "no endpoint" in one.mesh().problem

    run(test)


def entry(agent: Agent) -> Any:
    """What an agent says of itself."""
    assert agent.daemon is not None
    view = agent.daemon._meshes[MESH].view()
    return view.members[view.node_key].entry


def said(agent: Agent, name: str) -> list[str]:
    """The endpoints of a member, as an agent knows it."""
    assert agent.daemon is not None
    members = agent.daemon._meshes[MESH].view().members.values()
    return next((list(member.entry.endpoints) for member in members if member.entry.name == name), [])
