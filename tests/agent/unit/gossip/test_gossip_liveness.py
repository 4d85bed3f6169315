"""Judgement: from verdicts to liveness, by the majority of those whom nobody accuses."""

from __future__ import annotations

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.record import Kind, sign_record
from smegmesh.crdt.statement import SignedEntry
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.liveness import Judgement
from smegmesh.gossip.view import Liveness
from smegmesh.simulation.credentials import credentials, node_key


class _Mesh:
    """Peers p0, p1, ... and clients with their homes, and who accuses whom."""

    def __init__(self, peers: int, **clients: tuple[str, ...]) -> None:
        self.members: dict[bytes, SignedEntry] = {}
        self.judgement = Judgement(3, self.members)
        for number in range(peers):
            self.put(f"p{number}")
        for name, homes in clients.items():
            self.put(name, *homes)

    def put(self, name: str, *homes: str, number: int = 1) -> None:
        keys = [node_key(home) for home in homes] + [None, None]
        role = Role.CLIENT if homes else Role.PEER
        entry = Entry(name=name, role=role, tunnel_key=node_key(name), home=keys[0], backup=keys[1])
        own, key = credentials(name), node_key(name)
        record = sign_record(
            own.identity,
            Kind.ENTRY,
            "prod",
            key,
            number,
            b"instance",
            own.certificate.fingerprint,
            encode_entry(entry),
        )
        before = self.members.get(key)
        self.members[key] = SignedEntry(record, entry)
        self.judgement.changed(key, before.entry if before else None, entry)

    def remove(self, name: str) -> None:
        self.judgement.changed(node_key(name), self.members.pop(node_key(name)).entry, None)

    def accuse(self, writer: str, *down: str, mute: tuple[str, ...] = (), number: int = 1) -> None:
        accused = {node_key(name): Accusation(number) for name in down}
        accused |= {node_key(name): Accusation(number, mute=True) for name in mute}
        self.judgement.accuse(node_key(writer), accused)

    def failed(self) -> dict[str, Liveness]:
        self.judgement.update()
        names = {member.entry.name: key for key, member in self.members.items()}
        return {name: self.judgement.liveness(key) for name, key in names.items() if key in self.judgement.failed()}


def test_in_a_mesh_of_two_the_other_decides() -> None:
    mesh = _Mesh(2)
    mesh.accuse("p0", "p1")
    assert mesh.failed() == {"p1": Liveness.DOWN}
    mesh.accuse("p0")
    assert mesh.failed() == {}


def test_in_a_mesh_of_three_both_have_to() -> None:
    mesh = _Mesh(3)
    mesh.accuse("p0", "p2")
    assert mesh.failed() == {}
    mesh.accuse("p1", "p2")
    assert mesh.failed() == {"p2": Liveness.DOWN}


def test_who_is_accused_is_no_observer() -> None:
    mesh = _Mesh(3)
    mesh.accuse("p0", "p1", "p2")
    assert mesh.failed() == {"p1": Liveness.DOWN, "p2": Liveness.DOWN}


def test_down_and_mute_together_are_mute() -> None:
    mesh = _Mesh(4)
    mesh.accuse("p0", "p3")
    mesh.accuse("p1", mute=("p3",))
    assert mesh.failed() == {"p3": Liveness.MUTE}
    mesh.accuse("p2", "p3")
    assert mesh.failed() == {"p3": Liveness.DOWN}


def test_a_higher_number_answers_all_accusations_before() -> None:
    mesh = _Mesh(3)
    mesh.accuse("p0", "p2")
    mesh.accuse("p1", "p2")
    assert mesh.failed() == {"p2": Liveness.DOWN}
    mesh.put("p2", number=2)
    assert mesh.failed() == {}
    mesh.accuse("p0", "p2", number=2)
    mesh.accuse("p1", "p2", number=2)
    assert mesh.failed() == {"p2": Liveness.DOWN}


def test_what_a_non_member_says_does_not_count() -> None:
    mesh = _Mesh(3)
    mesh.accuse("p0", "p2")
    mesh.accuse("p1", "p2")
    mesh.remove("p0")
    mesh.accuse("p1")
    assert mesh.failed() == {}


def test_home_and_backup_judge_a_client() -> None:
    mesh = _Mesh(4, c0=("p0", "p1"))
    mesh.accuse("p2", "c0")
    mesh.accuse("p0", "c0")
    assert mesh.failed() == {}
    mesh.accuse("p1", "c0")
    assert mesh.failed() == {"c0": Liveness.DOWN}


def test_a_client_is_down_with_all_its_homes_until_it_names_another() -> None:
    mesh = _Mesh(2, c0=("p1", "p9"))
    assert mesh.failed() == {}
    mesh.accuse("p0", "p1")
    assert mesh.failed() == {"p1": Liveness.DOWN, "c0": Liveness.DOWN}
    mesh.put("c0", "p0", "p1", number=2)
    assert mesh.failed() == {"p1": Liveness.DOWN}
    mesh.remove("p0")
    assert mesh.failed() == {}, "nobody is left who accuses its backup"
    mesh.remove("p1")
    assert mesh.failed() == {"c0": Liveness.DOWN}


def test_a_lone_liar_puts_nobody_down() -> None:
    mesh = _Mesh(12)
    mesh.accuse("p0", *(f"p{number}" for number in range(1, 7)))
    assert mesh.failed() == {}


def test_who_is_observed_and_who_observes_are_the_same_relation() -> None:
    mesh = _Mesh(12, c0=("p3", "p4"))
    for writer in ("p1", "p2", "p5"):
        mesh.accuse(writer, "p6", "p7")
    mesh.judgement.update()
    for own in mesh.members:
        if mesh.judgement.against(own):
            continue
        observed = {key for key in mesh.members if own in mesh.judgement.observers(key)}
        assert mesh.judgement.observed(own) == observed


def test_the_version_moves_only_when_somebody_may_be_near_somebody_else() -> None:
    mesh = _Mesh(3)
    mesh.judgement.update()
    version = mesh.judgement.version
    mesh.accuse("p0")
    assert mesh.judgement.update() == set()
    assert mesh.judgement.version == version
    mesh.accuse("p0", "p1")
    assert mesh.judgement.version != version


class _Counting(dict[bytes, SignedEntry]):
    """Members that count how often one is looked for."""

    looks = 0

    def get(self, *arguments: object) -> object:  # type: ignore[override]
        self.looks += 1
        return super().get(*arguments)  # type: ignore[call-overload]


def test_accusing_strangers_costs_nothing_at_each_change() -> None:
    """A verdict may name 16384 nodes, and nobody has to be a member: else its writer slows everybody down for good."""
    mesh = _Mesh(3)
    mesh.judgement = Judgement(3, members := _Counting(mesh.members))
    mesh.judgement.accuse(node_key("p0"), {number.to_bytes(32, "big"): Accusation(1) for number in range(16_384)})
    mesh.accuse("p1", "p2")
    assert mesh.failed() == {}
    assert members.looks < 10
