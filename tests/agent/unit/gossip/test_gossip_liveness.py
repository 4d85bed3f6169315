"""Judgement: from verdicts to liveness, by the majority of those whom nobody accuses."""

from __future__ import annotations

from collections import Counter

import pytest

from gossip_members import Members, key, node
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.statement import SignedEntry
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.settings import Settings
from smegmesh.gossip.view import Liveness


class _Mesh(Members):
    """Peers p0, p1, ... and clients with their homes, and who accuses whom."""

    def __init__(self, peers: int, quarantine: float = 0.0, **clients: tuple[str, ...]) -> None:
        super().__init__(quarantine=quarantine)
        for number in range(peers):
            self.put(f"p{number}", number=1)
        for name, homes in clients.items():
            self.put(name, *homes, number=1)

    def says(self, writer: str, *down: str, mute: tuple[str, ...] = (), number: int = 1, now: float = 0.0) -> None:
        accused = {key(name): Accusation(number) for name in down}
        accused |= {key(name): Accusation(number, mute=True) for name in mute}
        self.accuse(writer, accused, now)

    def failed(self, now: float = 0.0) -> dict[str, Liveness]:
        self.judgement.update(now)
        names = {member.entry.name: of for of, member in self.map.members.items()}
        return {name: self.judgement.liveness(of) for name, of in names.items() if of in self.judgement.failed()}


def test_in_a_mesh_of_two_the_other_decides() -> None:
    mesh = _Mesh(2)
    mesh.says("p0", "p1")
    assert mesh.failed() == {"p1": Liveness.DOWN}
    mesh.says("p0")
    assert mesh.failed() == {}


def test_in_a_mesh_of_three_both_have_to() -> None:
    mesh = _Mesh(3)
    mesh.says("p0", "p2")
    assert mesh.failed() == {}
    mesh.says("p1", "p2")
    assert mesh.failed() == {"p2": Liveness.DOWN}


def test_who_accuses_whom_is_told_whether_or_not_it_decides() -> None:
    mesh = _Mesh(4)
    mesh.says("p0", "p2")
    mesh.says("p1", mute=("p2",))
    mesh.says("nobody", "p3")
    mesh.failed()
    assert {of: set(by) for of, by in mesh.judgement.accused().items()} == {key("p2"): {key("p0"), key("p1")}}
    mesh.put("p2", number=2)
    mesh.failed()
    assert mesh.judgement.accused() == {}


def test_who_is_accused_is_no_observer() -> None:
    mesh = _Mesh(3)
    mesh.says("p0", "p1", "p2")
    assert mesh.failed() == {"p1": Liveness.DOWN, "p2": Liveness.DOWN}


def test_down_and_mute_together_are_mute() -> None:
    mesh = _Mesh(4)
    mesh.says("p0", "p3")
    mesh.says("p1", mute=("p3",))
    assert mesh.failed() == {"p3": Liveness.MUTE}
    mesh.says("p2", "p3")
    assert mesh.failed() == {"p3": Liveness.DOWN}


def test_a_higher_number_answers_all_accusations_before() -> None:
    mesh = _Mesh(3)
    mesh.says("p0", "p2")
    mesh.says("p1", "p2")
    assert mesh.failed() == {"p2": Liveness.DOWN}
    mesh.put("p2", number=2)
    assert mesh.failed() == {}
    mesh.says("p0", "p2", number=2)
    mesh.says("p1", "p2", number=2)
    assert mesh.failed() == {"p2": Liveness.DOWN}


def test_what_a_non_member_says_does_not_count() -> None:
    mesh = _Mesh(3)
    mesh.says("p0", "p2")
    mesh.says("p1", "p2")
    mesh.remove("p0")
    mesh.says("p1")
    assert mesh.failed() == {}


def test_home_and_backup_judge_a_client() -> None:
    mesh = _Mesh(4, c0=("p0", "p1"))
    mesh.says("p2", "c0")
    mesh.says("p0", "c0")
    assert mesh.failed() == {}
    mesh.says("p1", "c0")
    assert mesh.failed() == {"c0": Liveness.DOWN}


def test_a_home_that_is_accused_leaves_the_judgement_of_a_client_to_the_other() -> None:
    mesh = _Mesh(4, c0=("p0", "p1"))
    mesh.says("p0", "c0")
    assert mesh.failed() == {}
    mesh.says("p2", "p1")
    assert mesh.failed() == {}, "one may lie"
    mesh.says("p3", "p1")
    assert mesh.failed() == {"p1": Liveness.DOWN, "c0": Liveness.DOWN}
    mesh.says("p2")
    assert mesh.failed() == {}


def test_a_client_is_not_down_because_its_home_spoke_of_others_before_it_was_known() -> None:
    mesh = _Mesh(2, c0=("p9",))
    verdict = node("p9").accuses(1)
    mesh.map.merge_verdict(verdict)
    mesh.says("p9")
    for client in ("c0", "c1"):
        mesh.put(client, "p9", number=2)
    assert mesh.failed() == {}
    mesh.put("p9", number=1)
    assert mesh.failed() == {}


def test_a_client_is_down_with_all_its_homes_until_it_names_another() -> None:
    mesh = _Mesh(2, c0=("p1", "p9"))
    mesh.put("p9", number=1)
    mesh.remove("p9")
    assert mesh.failed() == {}
    mesh.says("p0", "p1")
    assert mesh.failed() == {"p1": Liveness.DOWN, "c0": Liveness.DOWN}
    mesh.put("c0", "p0", "p1", number=2)
    assert mesh.failed() == {"p1": Liveness.DOWN}
    mesh.remove("p0")
    assert mesh.failed() == {}, "nobody is left who accuses its backup"
    mesh.remove("p1")
    assert mesh.failed() == {"c0": Liveness.DOWN}


def test_a_client_is_mute_while_none_of_its_homes_is_more_than_that() -> None:
    mesh = _Mesh(5, c0=("p0", "p1"))
    for writer in ("p2", "p3", "p4"):
        mesh.says(writer, mute=("p0", "p1"))
    assert mesh.failed() == dict.fromkeys(("p0", "p1", "c0"), Liveness.MUTE)
    for writer in ("p2", "p3", "p4"):
        mesh.says(writer, "p0", mute=("p1",))
    assert mesh.failed() == {"p0": Liveness.DOWN, "p1": Liveness.MUTE, "c0": Liveness.MUTE}
    mesh.put("c0", "p0", "p2", number=2)
    assert mesh.failed() == {"p0": Liveness.DOWN, "p1": Liveness.MUTE}


def test_a_liar_who_accuses_the_homes_of_a_client_does_not_keep_them_from_judging_it() -> None:
    mesh = _Mesh(6, c0=("p0", "p1"))
    mesh.says("p5", "p0", "p1")
    assert mesh.failed() == {}
    for home in ("p0", "p1"):
        mesh.says(home, "c0")
    assert mesh.failed() == {"c0": Liveness.DOWN}


def test_a_home_that_lies_about_its_client_and_the_other_home_is_one_liar() -> None:
    mesh = _Mesh(6, c0=("p0", "p1"))
    mesh.says("p1", "p0", "c0")
    assert mesh.failed() == {}


def test_a_client_whose_homes_are_not_known_yet_is_not_down() -> None:
    mesh = _Mesh(3)
    mesh.put("c0", "p7", "p8", number=1)
    assert mesh.failed() == {}


def test_all_clients_of_a_home_go_down_and_come_back_with_it() -> None:
    clients = {f"c{number}": ("p1",) for number in range(16)}
    mesh = _Mesh(2, **clients)
    assert mesh.failed() == {}
    mesh.says("p0", "p1")
    assert mesh.failed() == dict.fromkeys(["p1", *clients], Liveness.DOWN)
    mesh.put("p1")
    assert mesh.failed() == {}


def test_a_lone_liar_puts_nobody_down() -> None:
    mesh = _Mesh(12)
    mesh.says("p0", *(f"p{number}" for number in range(1, 7)))
    assert mesh.failed() == {}


def test_who_is_observed_and_who_observes_are_the_same_relation() -> None:
    mesh = _Mesh(12, c0=("p3", "p4"))
    for writer in ("p1", "p2", "p5"):
        mesh.says(writer, "p6", "p7")
    mesh.judgement.update()
    for own in mesh.map.members:
        if mesh.judgement.against(own):
            continue
        observed = {other for other in mesh.map.members if own in mesh.judgement.observers(other)}
        assert mesh.judgement.observed(own) == observed


def test_the_version_moves_only_when_somebody_may_be_near_somebody_else() -> None:
    mesh = _Mesh(3)
    mesh.judgement.update()
    version = mesh.judgement.version
    mesh.says("p0")
    assert mesh.judgement.update() == set()
    assert mesh.judgement.version == version
    mesh.says("p0", "p1")
    assert mesh.judgement.update() == set(), "one of two observers is not enough"
    assert mesh.judgement.version != version, "but it is suspect, and no observer any more"


def test_an_accusation_counts_against_the_very_entry_that_it_names() -> None:
    mesh = _Mesh(3)
    for writer in ("p1", "p2"):
        mesh.says(writer, "p0", number=2)
    assert mesh.failed() == {}, "of an entry that did not come yet, if it is no lie"
    mesh.put("p0", number=2)
    assert mesh.failed() == {"p0": Liveness.DOWN}
    mesh.put("p0", number=3)
    assert mesh.failed() == {}, "answered"


def test_accusing_strangers_costs_nothing_at_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict may name 16384 nodes, and nobody has to be a member: else its writer slows everybody down for good."""
    mesh = _Mesh(3)
    mesh.accuse("p0", {number.to_bytes(32, "big"): Accusation(1) for number in range(16_384)})
    assert mesh.failed() == {}
    looks = Counter[bytes]()
    member = MeshMap.member

    def counted(of: MeshMap, node_key: bytes) -> SignedEntry | None:
        looks[node_key] += 1
        return member(of, node_key)

    monkeypatch.setattr(MeshMap, "member", counted)
    mesh.says("p1", "p2")
    mesh.put("p2")
    mesh.judgement.update()
    assert looks.total() < 20


def _healed() -> _Mesh:
    """What p0 knows at 100 s, after a partition: the other half is down, and is heard again, first what it thought."""
    mesh = _Mesh(4, quarantine=Settings("prod").quarantine)
    for writer in ("p0", "p1"):
        mesh.says(writer, "p2", "p3")
    assert mesh.failed() == {"p2": Liveness.DOWN, "p3": Liveness.DOWN}
    for writer in ("p2", "p3"):
        mesh.says(writer, "p0", "p1", now=100.0)
    for name in ("p2", "p3"):
        mesh.put(name, number=2)
    return mesh


def test_what_a_writer_said_that_was_down_counts_ten_seconds_later() -> None:
    mesh = _healed()
    assert mesh.failed() == {}
    assert mesh.judgement.next_timer() == 110.0
    mesh.judgement.release(109.9)
    assert mesh.failed() == {}
    mesh.judgement.release(110.0)
    assert mesh.failed() == {"p0": Liveness.DOWN, "p1": Liveness.DOWN}
    assert mesh.judgement.next_timer() == float("inf")


def test_what_is_taken_back_within_ten_seconds_never_counts() -> None:
    mesh = _healed()
    assert mesh.failed() == {}
    mesh.says("p2", now=101.0)
    mesh.says("p3", now=101.0)
    assert mesh.judgement.next_timer() == float("inf")
    mesh.judgement.release(200.0)
    assert mesh.failed() == {}


def test_what_a_writer_repeats_once_it_is_back_waits_on() -> None:
    mesh = _healed()
    assert mesh.failed() == {}
    for writer in ("p2", "p3"):
        mesh.says(writer, "p0", now=109.0)
    assert mesh.failed() == {}
    mesh.judgement.release(110.0)
    assert mesh.failed() == {"p0": Liveness.DOWN}


def test_the_word_of_who_is_just_back_counts_against_those_whom_others_accuse_alone() -> None:
    """It may come late that it thought all others dead; who is dead indeed would be alive without its word."""
    mesh = _Mesh(5, quarantine=Settings("prod").quarantine)
    for writer in ("p0", "p1"):
        mesh.says(writer, "p2", "p3", "p4")
    assert mesh.failed(now=90.0).keys() == {"p2", "p3", "p4"}
    for name in ("p2", "p3"):
        mesh.put(name, number=2)
    mesh.failed(now=100.0)
    for writer in ("p2", "p3"):
        mesh.says(writer, "p0", "p1", "p4", now=102.9)
    assert mesh.failed(now=102.9) == {"p4": Liveness.DOWN}


def test_one_that_accuses_does_not_make_the_word_of_those_count_who_are_just_back() -> None:
    mesh = _Mesh(8, quarantine=Settings("prod").quarantine)
    for writer in ("p0", "p1", "p2", "p3", "p4"):
        mesh.says(writer, "p5", "p6", "p7")
    assert mesh.failed(now=90.0).keys() == {"p5", "p6", "p7"}
    mesh.says("p0", "p1", "p5", "p6", "p7", now=99.0)  # a liar, or a moment's suspicion
    for name in ("p5", "p6", "p7"):
        mesh.put(name, number=2)
    assert mesh.failed(now=100.0) == {}
    for writer in ("p5", "p6", "p7"):
        mesh.says(writer, "p0", "p1", "p2", "p3", "p4", now=101.0)
    assert mesh.failed(now=101.0) == {}


def test_three_seconds_after_its_return_the_word_of_a_writer_counts_at_once() -> None:
    mesh = _Mesh(4, quarantine=Settings("prod").quarantine)
    for writer in ("p0", "p1"):
        mesh.says(writer, "p2", "p3")
    assert mesh.failed(now=90.0).keys() == {"p2", "p3"}
    for name in ("p2", "p3"):
        mesh.put(name, number=2)
    assert mesh.failed(now=100.0) == {}
    for writer in ("p2", "p3"):
        mesh.says(writer, "p0", now=103.0)
    assert mesh.failed(now=103.0) == {"p0": Liveness.DOWN}
