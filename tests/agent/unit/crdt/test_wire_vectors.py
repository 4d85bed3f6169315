"""Bytes that agents of other versions hold and compare: a change here is a new version of the format."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from crdt_nodes import Said
from smegmesh.crdt.digest import DigestTree
from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import Held
from smegmesh.crdt.pool import Pool
from smegmesh.crdt.record import Kind, sign_record
from smegmesh.crdt.removal import leave, prune
from smegmesh.crdt.verdict import Accusation, encode_verdict
from smegmesh.identity.keys import IdentityKey

IDENTITY = IdentityKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NODE_KEY = bytes(range(32, 64))
ENTRY = Entry(
    name="a1",
    role=Role.PEER,
    tunnel_key=NODE_KEY,
    endpoints=("198.18.0.11:51820",),
    links=("198.18.0.11:4000",),
    services={"http": "tcp/80"},
    advertise=("2001:db8:10::/48",),
    agent="0.1.0",
    unknown={"zz": b"\x05"},
)
BODY = encode_entry(ENTRY)
RECORD = sign_record(IDENTITY, Kind.ENTRY, "prod", NODE_KEY, 7, b"instance", b"c" * 32, BODY)
LEAVE = sign_record(IDENTITY, Kind.LEAVE, "prod", NODE_KEY, 8, b"instance", b"c" * 32)


def test_entry_body() -> None:
    assert BODY.hex() == (
        "89a16ea26131a172a470656572a16bc420202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e"
        "3fa16591b13139382e31382e302e31313a3531383230a16c91b03139382e31382e302e31313a34303030a17381a46874"
        "7470a67463702f3830a17691b0323030313a6462383a31303a3a2f3438a177a5302e312e30a27a7a05"
    )


def test_header_and_signature() -> None:
    assert RECORD.header.hex() == (
        "980101a470726f64c420202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f07c408696e73"
        "74616e6365c4206363636363636363636363636363636363636363636363636363636363636363c4206eefae8b92947d"
        "4551660f43f30527920b753fbfdb91d06dbfba35c7bbad6b54"
    )
    assert RECORD.signature.hex() == (
        "31f8c206453d36aa1a2656e3ceb333d4cfb07f7db9cdce8599251cfe8d5c8280b6066d7b1172bb196c6a20cd323b0d21"
        "ded17bafeb114d11a372029494517b0b"
    )
    assert RECORD.seen.hex() == "4cfecd7d206b364b450e37fd76fb16b676b4a083974b3347073f87798c994062"


def test_verdict_body() -> None:
    body = encode_verdict({b"a" * 32: Accusation(1), b"b" * 32: Accusation(300, mute=True)})
    assert body.hex() == "83a164c420" + "61" * 32 + "a16dc420" + "62" * 32 + "a16e9201cd012c"


def test_removals_wrap_header_and_signature() -> None:
    header, signature = RECORD.header.hex(), RECORD.signature.hex()
    assert prune(RECORD).encode().hex() == f"9302c4{len(RECORD.header):02x}{header}c440{signature}"
    header, signature = LEAVE.header.hex(), LEAVE.signature.hex()
    assert leave(LEAVE).encode().hex() == f"9301c4{len(LEAVE.header):02x}{header}c440{signature}"


def test_digests() -> None:
    tree = DigestTree(Pool())
    assert tree.root.hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    for number in range(40):
        said = (Said((number + kind, NODE_KEY)) if number % kind == 0 else None for kind in (1, 2, 3))
        tree.put(Held(bytes([number]) * 32, *said))
    assert tree.root.hex() == "1715847ea0df6da6689b0cd64aeabb9d539df8a21facac58f052f014be788939"
