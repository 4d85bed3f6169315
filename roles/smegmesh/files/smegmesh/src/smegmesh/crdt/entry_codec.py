"""The body of an entry record: a MessagePack map.

| field | value | attribute of `Entry` |
| --- | --- | --- |
| `n` | text | `name` |
| `r` | text, `peer` or `client` | `role` |
| `k` | 32 bytes | `tunnel_key` |
| `q` | 96 bytes | `tunnel_proof` |
| `e`, `l` | array of text, `host:port` | `endpoints`, `links` |
| `h`, `b` | 32 bytes | `home`, `backup` |
| `a`, `d` | text | `alias`, `description` |
| `s` | map of text to text | `services` |
| `v` | array of text, canonical prefixes | `advertise` |
| `g` | boolean | `bridge` |
| `p` | array of [prefix or nil, array of mesh ids] | `routes` |
| `m` | boolean | `masquerade` |
| `c` | array of text, canonical prefixes or `*` | `accept` |
| `t` | map of text to 32 bytes | `static_peers` |
| `y` | map of text to [array of tags offered, array of tags accepted], 8 bytes each | `preshared` |
| `w` | text | `agent` |

What is at its default is left out. Every other field belongs to a newer agent: it is
kept as it is, nested at most `MAX_DEPTH` deep. An entry that breaks a limit is refused
whole, by its writer first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

import msgspec

from smegmesh.crdt.entry import ACCEPT_ALL, MAX_PATH, BridgedRoute, Entry, PairTags, Role
from smegmesh.crdt.record import KEY_SIZE, MAX_BODY, Kind, RecordError, unpack
from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.grant import check_node_name
from smegmesh.identity.possession import PROOF_LENGTH

MAX_ROUTES = 256
MAX_SERVICES = 64
MAX_ENDPOINTS = 16  # of a kind
MAX_STATIC_PEERS = 64
MAX_PAIRS = 64  # with a preshared key
MAX_TAGS = 4  # of a pair
TAG_SIZE = 8
MAX_ALIAS = 63
MAX_TEXT = 255  # bytes of a description, agent version or a service's value
MAX_DEPTH = 8

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)

_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Tag = Annotated[bytes, msgspec.Meta(min_length=TAG_SIZE, max_length=TAG_SIZE)]
_TagList = Annotated[tuple[_Tag, ...], msgspec.Meta(max_length=MAX_TAGS)]
_Addresses = Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ENDPOINTS)]

_FIELDS = {
    "name": "n",
    "role": "r",
    "tunnel_key": "k",
    "tunnel_proof": "q",
    "endpoints": "e",
    "links": "l",
    "home": "h",
    "backup": "b",
    "alias": "a",
    "description": "d",
    "services": "s",
    "advertise": "v",
    "bridge": "g",
    "routes": "p",
    "masquerade": "m",
    "accept": "c",
    "static_peers": "t",
    "preshared": "y",
    "agent": "w",
}


class _Route(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    prefix: str | None
    path: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_PATH)]


class _Tags(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    offered: _TagList
    accepted: _TagList


class _Body(msgspec.Struct, rename=_FIELDS, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    name: str
    role: Role
    tunnel_key: _Key
    tunnel_proof: Annotated[bytes, msgspec.Meta(min_length=PROOF_LENGTH, max_length=PROOF_LENGTH)] | None = None
    endpoints: _Addresses = ()
    links: _Addresses = ()
    home: _Key | None = None
    backup: _Key | None = None
    alias: str | None = None
    description: str | None = None
    services: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_SERVICES)] = msgspec.field(default_factory=dict)
    advertise: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ROUTES)] = ()
    bridge: bool = False
    routes: Annotated[tuple[_Route, ...], msgspec.Meta(max_length=MAX_ROUTES)] = ()
    masquerade: bool = True
    accept: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ROUTES)] = ()
    static_peers: Annotated[dict[str, _Key], msgspec.Meta(max_length=MAX_STATIC_PEERS)] = msgspec.field(
        default_factory=dict
    )
    preshared: Annotated[dict[str, _Tags], msgspec.Meta(max_length=MAX_PAIRS)] = msgspec.field(default_factory=dict)
    agent: str = ""


_COMPOSED = ("services", "routes", "static_peers", "preshared")
_KNOWN = frozenset(_FIELDS.values())
_encoder = msgspec.msgpack.Encoder()
_known_decoder = msgspec.msgpack.Decoder(_Body)
_any_decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder()
_field_decoder = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


def encode_entry(entry: Entry) -> bytes:
    """Body of an entry record, the same bytes for equal entries. Raises RecordError when a limit is broken."""
    clash = _KNOWN & entry.unknown.keys()
    if clash:
        raise RecordError(f"entry: {sorted(clash)} are no unknown fields")
    known = _Body(
        **{name: getattr(entry, name) for name in _FIELDS if name not in _COMPOSED},
        services=dict(sorted(entry.services.items())),
        static_peers=dict(sorted(entry.static_peers.items())),
        preshared={name: _Tags(tags.offered, tags.accepted) for name, tags in sorted(entry.preshared.items())},
        routes=tuple(_Route(route.prefix, route.path) for route in entry.routes),
    )
    fields = _field_decoder.decode(_encoder.encode(known))
    fields |= {name: msgspec.Raw(value) for name, value in sorted(entry.unknown.items())}
    body = _encoder.encode(fields)
    decode_entry(body)
    return body


def decode_entry(body: bytes) -> Entry:
    """Read an entry record's body. Raises RecordError, which says the limit that is broken."""
    if len(body) > MAX_BODY[Kind.ENTRY]:
        raise RecordError(f"entry has {len(body)} bytes, more than {MAX_BODY[Kind.ENTRY]}")
    fields = unpack("entry", _field_decoder, body)
    known = unpack("entry", _known_decoder, body)
    if _encoder.encode(fields) != body:
        raise RecordError("entry: a field is there twice, or the map is not in canonical MessagePack")
    entry = Entry(
        **{name: getattr(known, name) for name in _FIELDS if name not in ("routes", "preshared")},
        routes=tuple(BridgedRoute(route.path, route.prefix) for route in known.routes),
        preshared={name: PairTags(tags.offered, tags.accepted) for name, tags in known.preshared.items()},
        unknown={name: _bounded(name, bytes(raw)) for name, raw in fields.items() if name not in _KNOWN},
    )
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    try:
        check_node_name(entry.name)
    except ValueError as error:
        raise RecordError(f"entry: {error}") from error
    _check_role(entry)
    if entry.alias is not None and not _LABEL.fullmatch(entry.alias):
        raise RecordError(f"entry: alias {entry.alias!r} is no DNS label (a-z, 0-9, '-'; at most {MAX_ALIAS})")
    _check_text("description", entry.description or "")
    _check_text("agent", entry.agent)
    _check_services(entry.services)
    for endpoint in entry.endpoints:
        _check_endpoint("endpoint", endpoint)
    for link in entry.links:
        _check_endpoint("link", link)
    for prefix in entry.advertise:
        _check_prefix(prefix)
    if len(set(entry.advertise)) != len(entry.advertise):
        raise RecordError("entry: a prefix is advertised twice")
    for route in entry.routes:
        _check_route(route)
    if len(set(entry.routes)) != len(entry.routes):
        raise RecordError("entry: a route is there twice")
    _check_static_peers(entry)
    for name, tags in entry.preshared.items():
        _check_pair(name, tags)
    for accepted in entry.accept:
        if accepted != ACCEPT_ALL:
            _check_prefix(accepted)


def _check_role(entry: Entry) -> None:
    if entry.role is Role.CLIENT and (entry.endpoints or entry.links):
        raise RecordError("entry: a client has neither endpoints nor links")
    if entry.role is Role.PEER and (entry.home is not None or entry.backup is not None):
        raise RecordError("entry: a peer has neither home nor backup")
    if entry.role is Role.PEER and entry.accept:
        raise RecordError("entry: a peer carries what it accepts itself")
    if entry.routes and not entry.bridge:
        raise RecordError("entry: only a bridge has routes through other meshes")
    if entry.bridge and entry.role is Role.CLIENT:
        raise RecordError("entry: a client is no bridge")


def _check_text(field: str, text: str) -> None:
    if len(text.encode()) > MAX_TEXT:
        raise RecordError(f"entry: {field} has {len(text.encode())} bytes, more than {MAX_TEXT}")
    if not text.isprintable():
        raise RecordError(f"entry: {field} {text!r} holds characters that cannot be printed")


def _check_services(services: Mapping[str, str]) -> None:
    for name, value in services.items():
        if not _LABEL.fullmatch(name):
            raise RecordError(f"entry: service {name!r} is no DNS label (a-z, 0-9, '-'; at most {MAX_ALIAS})")
        _check_text(f"service {name}", value)


def _check_static_peers(entry: Entry) -> None:
    if entry.static_peers and entry.role is Role.CLIENT:
        raise RecordError("entry: a client carries nobody, and so no static peers")
    for name in entry.static_peers:
        if not _LABEL.fullmatch(name):
            raise RecordError(f"entry: static peer {name!r} is no DNS label (a-z, 0-9, '-'; at most {MAX_ALIAS})")
    if len(set(entry.static_peers.values())) != len(entry.static_peers):
        raise RecordError("entry: two static peers have one key")


def _check_pair(other: str, tags: PairTags) -> None:
    try:
        check_node_name(other)
    except ValueError as error:
        raise RecordError(f"entry: preshared keys: {error}") from error
    if not set(tags.accepted) <= set(tags.offered):
        raise RecordError(f"entry: accepts a preshared key with {other} that it does not offer")


def _check_endpoint(field: str, text: str) -> None:
    """`host:port`, `v4:port` or `[v6]:port`; a zone is meaningless on another host."""
    host, _colon, port = text.rpartition(":")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise RecordError(f"entry: {field} {text!r} has no port of 1 to 65535 at its end")
    if host.startswith("[") and host.endswith("]"):
        good = "%" not in host and _is_ipv6(host[1:-1])
    else:
        good = _HOST.fullmatch(host) is not None
    if not good:
        raise RecordError(f"entry: {field} {text!r} is not host:port or [v6]:port")


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False


def _check_prefix(text: str) -> None:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise RecordError(f"entry: advertised prefix: {error}") from error
    # Python versions differ in how they print these, and all agents must refuse the same entries.
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise RecordError(f"entry: advertised prefix {text!r} is IPv4-mapped: write the IPv4 prefix")
    if str(network) != text or "%" in text:
        raise RecordError(f"entry: advertised prefix {text!r} is not in canonical form ({str(network)!r})")


def _check_route(route: BridgedRoute) -> None:
    for mesh_id in route.path:
        try:
            check_mesh_id(mesh_id)
        except ValueError as error:
            raise RecordError(f"entry: path of a route: {error}") from error
    if len(set(route.path)) != len(route.path):
        raise RecordError(f"entry: the path of a route goes through a mesh twice: {' '.join(route.path)}")
    if route.prefix is not None:
        _check_prefix(route.prefix)


def _bounded(name: str, raw: bytes) -> bytes:
    """A newer agent's field. The depth is limited here so that every agent takes or refuses the same entries."""
    value = unpack(f"entry: field {name!r}", _any_decoder, raw)
    if _deeper(value, MAX_DEPTH):
        raise RecordError(f"entry: field {name!r} is nested more than {MAX_DEPTH} deep")
    return raw


def _deeper(value: object, depth: int) -> bool:
    if not isinstance(value, (dict, list, tuple)):
        return False
    children = [*value, *value.values()] if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(child, depth - 1) for child in children)
