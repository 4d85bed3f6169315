"""What is measured of meshes, from readings that a test makes up."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

from prometheus_client.parser import text_string_to_metric_families as parse

from smegmesh.control.exposition import Histogram, expose
from smegmesh.crdt.entry import Entry, Role
from smegmesh.daemon.metrics import AgentReading, MeshReading, Process, families
from smegmesh.dataplane.plane import DeviceState, PeerState
from smegmesh.gossip.codec import Ping
from smegmesh.gossip.traffic import Traffic
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.keys import encode_key

NOW = 1_800_000_000.0
OWN, LIVELY, MUTE, DOWN, IDLE = (bytes([number]) * 32 for number in range(1, 6))
LIVENESS = {OWN: Liveness.ALIVE, LIVELY: Liveness.ALIVE, MUTE: Liveness.MUTE, DOWN: Liveness.DOWN, IDLE: Liveness.ALIVE}


def tunnel(node_key: bytes) -> bytes:
    return bytes(255 - byte for byte in node_key)


def view(mesh: str = "prod", own: bytes = OWN, leader: bytes | None = LIVELY) -> View:
    members = {
        key: Member(key, IPv6Address(f"fd00::{number}"), Entry("a1", Role.PEER, tunnel(key)), 1, liveness)
        for number, (key, liveness) in enumerate(LIVENESS.items())
    }
    return View(mesh, own, members, leader, bytes(32))


def device(**ages: tuple[float | None, int]) -> DeviceState:
    """By name of a constant above the age of its handshake and its keepalive."""
    peers = {
        tunnel(globals()[name]): PeerState(
            None, frozenset(), keepalive, None if age is None else NOW - age, received=1, sent=2
        )
        for name, (age, keepalive) in ages.items()
    }
    return DeviceState(tunnel(OWN), 51820, 0, peers)


def reading(seen: View, held: DeviceState | None = None, counters: Mapping[str, int] | None = None) -> MeshReading:
    sent = Traffic()
    sent.count(Ping(), 2)
    return MeshReading(
        view=seen,
        failed={key: liveness for key, liveness in LIVENESS.items() if liveness is not Liveness.ALIVE},
        up=True,
        links=3,
        sent=sent,
        received=Traffic(),
        counters=counters or {},
        equal_age=4.0,
        change_age=30.0,
        certificate_end=NOW + 60,
        authority_end=NOW + 3600,
        apply_times=Histogram((0.1, 1.0)),
        device=held,
    )


def exposed(*meshes: MeshReading, failed: tuple[str, ...] = (), per_peer: bool = False) -> dict[str, dict[str, float]]:
    """By name of a sample its values, by the values of its labels."""
    process = Process(cpu=1.5, resident=2, started=NOW - 10, descriptors=7)
    text = expose(families(AgentReading("1.0", failed, {}, meshes, process, NOW), per_peer=per_peer))
    found: dict[str, dict[str, float]] = {}
    for family in parse(text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            labels = " ".join(sample.labels.values())
            assert labels not in values, f"{sample} is there twice"
            values[labels] = sample.value
    return found


def test_handshakes_are_those_of_members_that_are_not_down() -> None:
    held = device(LIVELY=(20, 25), MUTE=(200, 25), DOWN=(9999, 25), IDLE=(9000, 0))
    found = exposed(reading(view(), held))
    assert found["smegmesh_wireguard_peers"] == {"prod fresh": 1, "prod stale": 1, "prod never": 0, "prod idle": 1}
    assert found["smegmesh_wireguard_handshake_age_median_seconds"] == {"prod": 200}
    assert found["smegmesh_wireguard_handshake_age_max_seconds"] == {"prod": 9000}
    found = exposed(reading(view(), device(LIVELY=(None, 25), MUTE=(-5, 25))))
    assert found["smegmesh_wireguard_peers"] == {"prod fresh": 1, "prod stale": 0, "prod never": 1, "prod idle": 0}
    assert found["smegmesh_wireguard_handshake_age_max_seconds"] == {"prod": 0}, "one ahead of the clock"
    assert "smegmesh_wireguard_peers" not in exposed(reading(view(), None)), "nothing is known without a device"


def test_leaders_are_the_same_number_on_nodes_that_agree() -> None:
    def leader(own: bytes, of: bytes | None) -> tuple[float, float]:
        found = exposed(reading(view(own=own, leader=of)))
        return found["smegmesh_mesh_leader_id"]["prod"], found["smegmesh_mesh_is_leader"]["prod"]

    assert leader(OWN, LIVELY)[0] == leader(LIVELY, LIVELY)[0] != leader(OWN, OWN)[0]
    assert (leader(OWN, LIVELY)[1], leader(LIVELY, LIVELY)[1]) == (0, 1)
    assert leader(OWN, None) == (0, 0)
    number = leader(OWN, LIVELY)[0]
    assert number == int(number) < 2**48, "floating point holds it exactly"


def test_what_may_be_wrong_is_there_before_it_is() -> None:
    found = exposed(reading(view(), counters={"bad.signature": 2, "alarm_cloned": 1, "late": 5}))
    refused, alarms = found["smegmesh_gossip_refused_total"], found["smegmesh_alarms_total"]
    assert (refused["prod signature"], refused["prod grant"]) == (2, 0)
    assert alarms == {"prod cloned": 1, "prod address": 0, "prod revoked": 0, "prod refused": 0}
    assert found["smegmesh_gossip_late_timers_total"] == {"prod": 5}


def test_several_meshes_and_those_that_do_not_run() -> None:
    found = exposed(reading(view()), reading(view("office")), failed=("lab",))
    assert found["smegmesh_mesh_up"] == {"prod": 1, "office": 1, "lab": 0}
    members = found["smegmesh_mesh_members"]
    assert {members[f"{mesh} alive"] for mesh in ("prod", "office")} == {3}
    assert (members["office mute"], members["office down"]) == (1, 1)
    assert found["smegmesh_gossip_bytes_total"]["office sent ping"] == 2
    assert found["smegmesh_mesh_agreement_age_seconds"] == {"prod": 4, "office": 4}
    assert found["smegmesh_certificate_expiry_timestamp_seconds"]["prod"] == NOW + 60


def test_peers_are_named_if_that_is_asked_for_and_told_apart_all_the_same() -> None:
    held = device(LIVELY=(20, 25), MUTE=(None, 25))
    peers = {f"prod a1 {encode_key(tunnel(key))}": key for key in (LIVELY, MUTE)}
    found = exposed(reading(view(), held), per_peer=True)
    assert found["smegmesh_peer_receive_bytes_total"] == dict.fromkeys(peers, 1)
    assert found["smegmesh_peer_transmit_bytes_total"] == dict.fromkeys(peers, 2)
    times = {NOW - 20, 0}
    assert set(found["smegmesh_peer_last_handshake_timestamp_seconds"].values()) == times
    assert not [name for name in exposed(reading(view(), held)) if "peer_" in name]
