"""The grant: what a certificate lets a node do, and its form inside certificate and request.

It travels in one private, non-critical X.509 extension, as a DER UTF8String of
canonical JSON: readable in `openssl x509 -text`, and of one possible form only,
so that reading it strictly is encoding it again and comparing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from cryptography.x509 import ObjectIdentifier

from smegmesh.identity.address import check_mesh_id
from smegmesh.identity.keys import decode_key, encode_key

ANY_MESH = "*"

# A UUID in seven numbers under the arc that Microsoft opened to all for this. The arc 2.25 (ITU-T X.667) would
# take the UUID as one number, which cryptography 42 cannot read.
_ARC = "1.2.840.113556.1.8000.2554.46211.54126.49294.16903.43676.817168.8470213"  # b483d36e-c08e-4207-aa9c-0c7810813ec5
GRANT_OID = ObjectIdentifier(f"{_ARC}.1")
NODE_KEY_OID = ObjectIdentifier(f"{_ARC}.2")
OPERATOR_OID = ObjectIdentifier(f"{_ARC}.3")
ENROLLER_OID = ObjectIdentifier(f"{_ARC}.4")
ISSUER_OID = ObjectIdentifier(f"{_ARC}.5")

_VERSION = 1
_MAX_LENGTH = 0xFFFF
_UTF8_STRING = 0x0C
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the authority says of a node.

    `meshes` it may join and `bridges`, the meshes it may forward between, are
    mesh ids or `*`; `prefixes` are the ones outside the overlay that it may
    advertise, a prefix within a granted one included, and the addresses (/128) of static peers
    that it may carry. The three are sets: made
    from any iterable, kept as sorted tuples of canonical text. ValueError for
    what is no such thing.
    """

    node_name: str
    node_key: bytes
    meshes: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_node_name(self.node_name)
        encode_key(self.node_key)
        object.__setattr__(self, "meshes", _canonical(_check_mesh, self.meshes, "meshes"))
        object.__setattr__(self, "bridges", _canonical(_check_mesh, self.bridges, "bridges"))
        object.__setattr__(self, "prefixes", _canonical(_check_prefix, self.prefixes, "prefixes"))

    def allows_mesh(self, mesh_id: str) -> bool:
        """Whether the node may join the mesh."""
        return mesh_id in self.meshes or ANY_MESH in self.meshes

    def allows_bridge(self, mesh_id: str) -> bool:
        """Whether the node may forward between the mesh and others."""
        return mesh_id in self.bridges or ANY_MESH in self.bridges

    def allows_prefix(self, prefix: str) -> bool:
        """Whether the node may advertise the prefix; False also for what is no prefix."""
        try:
            wanted = ip_network(prefix)
        except ValueError:
            return False
        return any(_within(wanted, ip_network(granted)) for granted in self.prefixes)

    def allows_address(self, address: IPv6Address) -> bool:
        """Whether the node may carry an address of the overlay for another: granted by itself, no wider prefix counts.

        Else whoever may advertise a default route could speak for everybody.
        """
        return f"{address}/128" in self.prefixes


def check_node_name(name: str) -> str:
    """Return a valid node name unchanged; ValueError says what is wrong and how to mend it.

    64 characters are what a common name holds (RFC 5280, ub-common-name).
    """
    if not isinstance(name, str) or not _NODE_NAME.fullmatch(name):
        raise ValueError(
            f"node name {name!r} is not valid: use 1 to 64 letters, digits, '.', '_' and '-', "
            "with a letter or digit at both ends"
        )
    return name


def encode_grant(grant: Grant) -> bytes:
    """The extension's value; the node name stays outside, it is the certificate's subject."""
    return _encode(
        {
            "version": _VERSION,
            "node_key": encode_key(grant.node_key),
            "meshes": grant.meshes,
            "bridges": grant.bridges,
            "prefixes": grant.prefixes,
        }
    )


def decode_grant(node_name: str, value: bytes) -> Grant:
    """The grant of an extension; ValueError unless it has exactly the form `encode_grant` gives it."""
    fields = _decode(value, {"node_key": str, "meshes": list, "bridges": list, "prefixes": list})
    grant = Grant(
        node_name=node_name,
        node_key=decode_key(fields["node_key"]),
        meshes=fields["meshes"],
        bridges=fields["bridges"],
        prefixes=fields["prefixes"],
    )
    if encode_grant(grant) != value:
        raise ValueError("the grant is not in its canonical form")
    return grant


def encode_node_key(node_key: bytes) -> bytes:
    """The value of the extension by which a request names its node key."""
    return _encode({"version": _VERSION, "node_key": encode_key(node_key)})


def decode_node_key(value: bytes) -> bytes:
    """The node key of a request's extension; ValueError unless it has the one form."""
    node_key = decode_key(_decode(value, {"node_key": str})["node_key"])
    if encode_node_key(node_key) != value:
        raise ValueError("the node key is not in its canonical form")
    return node_key


def encode_access(access: str) -> bytes:
    """The value of the extension by which a certificate is an operator's: what its holder may do."""
    return _encode({"version": _VERSION, "access": access})


def decode_access(value: bytes) -> str:
    """What an operator may do; ValueError unless the extension has the one form."""
    access: str = _decode(value, {"access": str})["access"]
    if encode_access(access) != value:
        raise ValueError("the operator's access is not in its canonical form")
    return access


def encode_meshes(meshes: Iterable[str]) -> bytes:
    """The value of the extension by which a certificate is an enroller's: the meshes it may admit to, by name."""
    named = _canonical(check_mesh_id, meshes, "meshes")
    if not named:
        raise ValueError("an enroller needs a mesh to admit to: name one")
    return _encode({"version": _VERSION, "meshes": named})


def decode_meshes(value: bytes) -> tuple[str, ...]:
    """The meshes of an enroller; ValueError unless the extension has the one form."""
    meshes = tuple(_decode(value, {"meshes": list})["meshes"])
    if encode_meshes(meshes) != value:
        raise ValueError("the enroller's meshes are not in their canonical form")
    return meshes


def _encode(fields: dict[str, object]) -> bytes:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"the grant is too long ({len(text)} bytes): name fewer meshes and prefixes, or '*'")
    return bytes([_UTF8_STRING]) + _der_length(len(text)) + text


def _decode(value: bytes, kinds: dict[str, type]) -> dict[str, Any]:
    octets = value[1] & 0x7F if len(value) > 1 and value[1] & 0x80 else 0  # of a length that needs more than one
    start = 2 + octets
    header = bytes([_UTF8_STRING]) + _der_length(max(0, len(value) - start))
    if value[:start] != header or value[start : start + 1] != b"{":
        raise ValueError("the extension is not a DER UTF8String that holds a JSON object")
    try:
        fields: dict[str, Any] = json.loads(value[start:])
    except (ValueError, RecursionError):
        raise ValueError("the extension does not hold JSON") from None
    if fields.get("version") != _VERSION:
        raise ValueError(f"the extension has version {fields.get('version')!r}, this program knows {_VERSION}")
    for name, kind in kinds.items():
        if not isinstance(fields.get(name), kind):
            raise ValueError(f"the extension has no proper {name!r}")
    if set(fields) != {"version", *kinds}:
        raise ValueError("the extension has fields that this program does not know")
    return fields


def _der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def _canonical(check: Callable[[str], str], values: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(values, (str, bytes)):
        raise ValueError(f"{what} of a grant must be a list, not the text {values!r}")
    return tuple(sorted({check(value) for value in values}))


def _check_mesh(mesh_id: str) -> str:
    return mesh_id if mesh_id == ANY_MESH else check_mesh_id(mesh_id)


def _check_prefix(prefix: str) -> str:
    try:
        if not isinstance(prefix, str):
            raise ValueError("it is not text")
        return str(ip_network(prefix))
    except ValueError as error:
        raise ValueError(f"prefix {prefix!r} is not valid ({error}): write it like '2001:db8:10::/48'") from None


def _within(prefix: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(prefix, IPv4Network):
        return isinstance(other, IPv4Network) and prefix.subnet_of(other)
    return isinstance(other, IPv6Network) and prefix.subnet_of(other)
