"""Who may say what."""

from __future__ import annotations

import pytest

from crdt_nodes import MESH, Node
from smegmesh.crdt.entry import BridgedRoute
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.record import Kind, Record, RecordError
from smegmesh.crdt.statement import accept_entry, accept_verdict
from smegmesh.crdt.verdict import encode_verdict
from smegmesh.identity.address import mesh_prefix, node_address
from smegmesh.identity.keys import public_key
from smegmesh.identity.possession import make_tunnel_key

EXIT = Node("x1", bridges=("office",), prefixes=("2001:db8:10::/44", "198.18.0.0/15"))


def signed(node: Node, **attributes: object) -> Record:
    return node.sign(Kind.ENTRY, 1, encode_entry(node.entry(**attributes)))


def test_what_the_certificate_grants_may_be_said() -> None:
    entry = EXIT.entry(advertise=("2001:db8:10::/48", "198.19.0.0/24"))
    record = EXIT.sign(Kind.ENTRY, 1, encode_entry(entry))
    statement = accept_entry(record, MESH, EXIT.certificate)
    assert (statement.entry, statement.record, statement.order) == (entry, record, record.order)
    everywhere = Node("gw", bridges=("*",), prefixes=("::/0",))
    accept_entry(signed(everywhere, bridge=True, advertise=("::/0",)), MESH, everywhere.certificate)


def test_what_the_certificate_says_already_is_not_kept_again() -> None:
    """Thousands of statements are kept."""
    grant = EXIT.certificate.grant
    said = accept_entry(signed(EXIT), MESH, EXIT.certificate)
    verdict = accept_verdict(EXIT.sign(Kind.VERDICT, 2, encode_verdict({})), MESH, EXIT.certificate)
    for record in (said.record, verdict.record):
        assert record.node_key is grant.node_key
        assert record.certificate is EXIT.certificate.fingerprint
        assert record.mesh_id is MESH
    assert said.entry.tunnel_key is grant.node_key
    assert said.entry.name is grant.node_name


@pytest.mark.parametrize(
    ("attributes", "what"),
    [
        ({"name": "x2"}, "calls its node 'x2'"),
        ({"bridge": True}, "bridge mesh prod"),
        ({"advertise": ("::/0",)}, "advertise ::/0"),
        ({"advertise": ("2001:db8:10::/48", "198.17.0.0/24")}, "advertise 198.17.0.0/24"),
    ],
)
def test_what_it_does_not_grant_is_refused(attributes: dict[str, object], what: str) -> None:
    with pytest.raises(RecordError, match=what):
        accept_entry(signed(EXIT, **attributes), MESH, EXIT.certificate)


def test_a_static_peer_is_carried_by_whom_its_very_address_was_granted_to() -> None:
    phone = b"p" * 32
    address = node_address(MESH, phone)
    carrier = Node("a1", prefixes=(f"{address}/128",))
    said = accept_entry(signed(carrier, static_peers={"phone": phone}), MESH, carrier.certificate)
    assert said.entry.static_peers == {"phone": phone}
    for prefixes in ((), ("::/0",), (f"{mesh_prefix(MESH)}",), (f"{node_address('office', phone)}/128",)):
        other = Node("a1", prefixes=prefixes)
        with pytest.raises(RecordError, match=f"static peer phone .{address}."):
            accept_entry(signed(other, static_peers={"phone": phone}), MESH, other.certificate)


def test_a_bridge_speaks_of_the_meshes_it_may_bridge_and_of_none_behind_its_own() -> None:
    bridge = Node("gw", bridges=(MESH, "office"))

    def said(*path: str, prefix: str | None = None) -> Record:
        return signed(bridge, bridge=True, routes=(BridgedRoute(path, prefix),))

    for good in (said("office"), said("office", "lab"), said("office", "lab", prefix="2001:db8:99::/48")):
        accept_entry(good, MESH, bridge.certificate)
    with pytest.raises(RecordError, match="bridge mesh lab"):
        accept_entry(said("lab"), MESH, bridge.certificate)
    with pytest.raises(RecordError, match=f"leads back into mesh {MESH}"):
        accept_entry(said("office", MESH), MESH, bridge.certificate)


def test_a_tunnel_key_that_is_not_the_node_key_is_proved() -> None:
    private, proof = make_tunnel_key(b"s" * 32, EXIT.key)
    mine = {"tunnel_key": public_key(private), "tunnel_proof": proof}
    accept_entry(signed(EXIT, **mine), MESH, EXIT.certificate)
    thief = Node("t1")
    for stolen in (mine, {**mine, "tunnel_proof": None}, {"tunnel_key": EXIT.key}):
        with pytest.raises(RecordError, match="t1 does not prove"):
            accept_entry(signed(thief, **stolen), MESH, thief.certificate)


def test_kinds_are_not_mixed_up() -> None:
    with pytest.raises(RecordError, match="kind leave is no entry"):
        accept_entry(EXIT.sign(Kind.LEAVE, 1), MESH, EXIT.certificate)
    with pytest.raises(RecordError, match="kind entry is no verdict"):
        accept_verdict(signed(EXIT), MESH, EXIT.certificate)


def test_a_signature_is_checked_before_a_body_is_read() -> None:
    record = EXIT.sign(Kind.VERDICT, 1, b"no verdict")
    with pytest.raises(RecordError, match="names certificate"):
        accept_verdict(record, MESH, Node("x1").certificate)
    with pytest.raises(RecordError, match="verdict"):
        accept_verdict(record, MESH, EXIT.certificate)
