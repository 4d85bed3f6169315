"""Hosts in several meshes, on paper: what all would tell and choose if everybody knew who lives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from smegmesh.crdt.entry import BridgedRoute, Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.choices import Choices, Joined, advertise, choose
from smegmesh.routing.offers import Offers, make_offers
from smegmesh.simulation import credentials

_NOBODY = b""
_node_key = cache(credentials.node_key)
_Told = dict[tuple[str, str], tuple[BridgedRoute, ...]]  # by host and mesh


@dataclass(frozen=True, slots=True)
class Machine:
    """A host. Between its meshes it forwards, if there are several."""

    name: str
    meshes: tuple[str, ...]
    role: Role = Role.PEER

    @property
    def key(self) -> bytes:
        """Its node key, the same in all meshes."""
        return _node_key(self.name)

    @property
    def bridge(self) -> bool:
        """Whether it forwards."""
        return len(self.meshes) > 1


@dataclass(frozen=True, slots=True)
class Settled:
    """`told`: what each bridge tells in each of its meshes (name, mesh id). `tables`: the ways out of each mesh."""

    told: Mapping[tuple[str, str], tuple[BridgedRoute, ...]]
    tables: Mapping[str, Choices]


def settled(machines: Iterable[Machine]) -> Settled:
    """What the hosts that live arrive at, from nothing: all look at once, all tell at once, until nobody has news."""
    machines = list(machines)
    bridges = [machine for machine in machines if machine.bridge]
    meshes = {mesh for machine in machines for mesh in machine.meshes}
    told: _Told = {(machine.name, mesh): () for machine in bridges for mesh in machine.meshes}
    while True:
        offers = {mesh: _offers(mesh, bridges, told) for mesh in meshes}
        news: _Told = {}
        for machine in bridges:
            joined = {mesh: Joined(offers[mesh], bridge=True) for mesh in machine.meshes}
            best = choose(machine.key, joined)
            news |= {(machine.name, mesh): advertise(mesh, joined, best) for mesh in machine.meshes}
        if news == told:
            return Settled(told, {mesh: choose(_NOBODY, {mesh: Joined(offers[mesh])})[mesh] for mesh in meshes})
        told = news


def _offers(mesh: str, bridges: Iterable[Machine], told: _Told) -> Offers:
    members = {}
    for machine in bridges:
        if mesh in machine.meshes:
            key = machine.key
            entry = Entry(machine.name, machine.role, key, bridge=True, routes=told[machine.name, mesh])
            members[key] = Member(key, node_address(mesh, key), entry, 1, Liveness.ALIVE)
    return make_offers(View(mesh, _NOBODY, members, None, b""), members)
