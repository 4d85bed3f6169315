"""Keys and certificates for simulated nodes, from a real authority; made once a process, the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from smegmesh.identity.certificate import (
    Authority,
    Grant,
    NodeCertificate,
    issue,
    make_authority,
    make_request,
    read_request,
)
from smegmesh.identity.keys import IdentityKey, public_key

_START = 1_700_000_000
_DAYS = 3650
_END = _START + 86_400 * 365


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node proves itself with."""

    identity: IdentityKey
    certificate: NodeCertificate


@cache
def _authority(name: str) -> tuple[bytes, bytes]:
    key = IdentityKey(Ed25519PrivateKey.from_private_bytes(_secret("authority", name)))
    return make_authority(name, _DAYS, now=_START, key_pem=key.to_pem(), serial=1)


class _Remembering(Authority):
    """An authority that all simulated nodes of a process share verifies each certificate once."""

    __slots__ = ("_verified",)

    def __init__(self, pem: bytes) -> None:
        super().__init__(pem)
        self._verified: dict[bytes, NodeCertificate] = {}

    def verify(self, der: bytes) -> NodeCertificate:
        if der not in self._verified:
            self._verified[der] = super().verify(der)
        return self._verified[der]


@cache
def authority(name: str = "simulated") -> Authority:
    """The authority of simulated meshes."""
    return _Remembering(_authority(name)[0])


def authority_key(name: str = "simulated") -> bytes:
    """Its key (PEM), to sign revocations with."""
    return _authority(name)[1]


def node_key(name: str) -> bytes:
    """The node key of the node of this name."""
    return public_key(_secret("tunnel", name))


@cache
def credentials(
    name: str,
    *,
    meshes: tuple[str, ...] = ("*",),
    bridges: tuple[str, ...] = (),
    prefixes: tuple[str, ...] = (),
    issuer: str = "simulated",
    edition: int = 0,
) -> Credentials:
    """Identity and certificate of a node. Another `edition` is a renewed certificate."""
    identity = IdentityKey(Ed25519PrivateKey.from_private_bytes(_secret("identity", name)))
    request = read_request(make_request(identity, name, node_key(name)))
    grant = Grant(name, node_key(name), meshes, bridges, prefixes)
    pem, key = _authority(issuer)
    serial = int.from_bytes(_secret("serial", repr((grant, issuer, edition)))[:16], "big")
    certificate = issue(pem, key, request, grant, not_before=_START + edition, not_after=_END, serial=serial)
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    return Credentials(identity, authority(issuer).verify(der))


def _secret(purpose: str, name: str) -> bytes:
    return sha256(f"simulated {purpose} {name}".encode()).digest()
