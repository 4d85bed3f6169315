"""What a node says of itself to all others, out of its declaration and of what is so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import smegmesh
from smegmesh.crdt.entry import ACCEPT_ALL, BridgedRoute, Entry, PairTags, Role
from smegmesh.declaration import Declaration, HostPort, Prefix
from smegmesh.routing.offers import DEFAULT, Accepted
from smegmesh.store.keys import HostKeys


def make_entry(
    declaration: Declaration,
    *,
    name: str,
    keys: HostKeys,
    port: int,
    link_port: int,
    reached_at: Iterable[HostPort],
    advertised: Iterable[Prefix],
    announced: tuple[BridgedRoute, ...],
    preshared: Mapping[str, PairTags],
) -> Entry:
    """The entry of this node. ValueError if the declaration says what no entry may.

    `keys`: those that the interface has. `reached_at`: where others reach this host, best first, with `port` and
    `link_port` where that says none. `advertised`: the prefixes that it forwards to; `announced`: what it reaches
    through its other meshes; `preshared` as in `Pairs.said`.
    """
    reached = list(reached_at) if declaration.role is Role.PEER else []
    endpoints = dict.fromkeys(each.text(port) for each in reached)
    links = dict.fromkeys(each._replace(port=None).text(link_port) for each in reached)
    return Entry(
        name=name,
        role=declaration.role,
        tunnel_key=keys.tunnel_key,
        tunnel_proof=keys.proof,
        endpoints=tuple(endpoints),
        links=tuple(links),
        alias=declaration.alias,
        description=declaration.description,
        services=dict(declaration.services),
        advertise=tuple(map(str, advertised)),
        bridge=declaration.bridge,
        routes=announced if declaration.bridge else (),
        masquerade=declaration.masquerade,
        accept=_accept(declaration) if declaration.role is Role.CLIENT else (),
        preshared=preshared,
        static_peers={peer.name: peer.public_key for peer in declaration.static_peers},
        agent=smegmesh.__version__,
    )


def accepted(declaration: Declaration) -> Accepted:
    """What the node takes of what others offer."""
    return Accepted(declaration.accept_routes, declaration.accept_all, declaration.accept_default)


def _accept(declaration: Declaration) -> tuple[str, ...]:
    """The same as an entry says it."""
    default = (str(DEFAULT),) if declaration.accept_default else ()
    every = (ACCEPT_ALL,) if declaration.accept_all else ()
    return (*map(str, declaration.accept_routes), *every, *default)
