"""Properties of the engine's pure parts: rings, the descent of anti-entropy, the choice of homes."""

from __future__ import annotations

from functools import cache
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.map import MeshMap
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.crdt.removal import Removal
from smegmesh.crdt.verdict import encode_verdict
from smegmesh.gossip.antientropy import Difference, answer_root, descend, describe
from smegmesh.gossip.certificates import Certificates
from smegmesh.gossip.codec import Nodes, Root, Same, Slot, WantItems, WantNodes
from smegmesh.gossip.homes import Preference, choose, weight
from smegmesh.gossip.replica import Change, Replica
from smegmesh.gossip.rings import Rings, Subset
from smegmesh.gossip.sharing import Owners, Sharing
from smegmesh.simulation.credentials import authority, credentials, node_key

_MESH = "simulated"
_NODES = 24
_keys = st.integers(0, 40).map(lambda number: number.to_bytes(32, "big"))


@given(st.sets(_keys, min_size=1), st.data())
@settings(max_examples=60, deadline=None)
def test_nearest_is_mutual_among_those_who_are_not_skipped(keys: set[bytes], data: st.DataObject) -> None:
    skipped = data.draw(st.sets(st.sampled_from(sorted(keys))))
    rings = Rings(3)
    for key in keys:
        rings.add(key)
    out = set[bytes]()
    subset = Subset(rings, out)
    for key in skipped:
        out.add(key)
        subset.changed(key)
    for key in keys - skipped:
        near = subset.nearest(key)
        assert near.isdisjoint(skipped | {key})
        assert all(key in subset.nearest(other) for other in near)
        assert bool(near) == (len(keys - skipped) > 1)


@given(
    st.integers(0, 120),
    st.lists(st.tuples(st.sampled_from(["comes", "goes", "most go", "asks"]), st.integers(0, 120)), max_size=40),
)
@settings(max_examples=100, deadline=None)
def test_a_preference_is_the_order_of_all_peers_by_weight(first: int, events: list[tuple[str, int]]) -> None:
    """However few are at hand: whoever is asked later follows in the same order."""
    client = b"c" * 32
    peers = {number.to_bytes(32, "big") for number in range(first)}
    preference = Preference(client, lambda: peers)

    def put(key: bytes, present: bool) -> None:
        (peers.add if present else peers.discard)(key)
        preference.put(key, present)

    for event, number in [*events, ("asks", 0)]:
        order = sorted(peers, key=lambda key: weight(client, key))
        if event == "asks":
            assert list(islice(preference, 16)) == order[:16]
        elif event == "most go":
            for key in order[: number // 2]:
                put(key, False)
        else:
            put(number.to_bytes(32, "big"), event == "comes")
    assert list(preference) == order


@cache
def _record(node: int, kind: Kind, number: int) -> Record:
    name = f"p{node}"
    own, key = credentials(name), node_key(name)
    entry = encode_entry(Entry(name=name, role=Role.PEER, tunnel_key=key))
    body = entry if kind is Kind.ENTRY else encode_verdict({})
    return sign_record(own.identity, kind, _MESH, key, number, b"instance", own.certificate.fingerprint, body)


def _replica(records: list[tuple[int, Kind, int]]) -> Replica:
    mesh = MeshMap(_MESH)
    replica = Replica(mesh, Certificates(authority(), mesh, Owners()), authority(), Sharing())
    for node in range(_NODES):
        replica.certificates.add(credentials(f"p{node}").certificate)
    for node, kind, number in records:
        replica.take(_record(node, kind, number))
    return replica


def _compare(asking: Replica, asked: Replica) -> int:
    """One comparison to its end; returns the items that travelled."""
    travelled = 0
    answer = answer_root(asked.map.tree, Root(asking.map.root))
    pending = [] if isinstance(answer, Same) else [answer]
    while pending:
        give, questions = descend(asking.map.tree, pending.pop())
        travelled += _hand_over(asking, asked, give.slots + give.new)
        for question in questions:
            if isinstance(question, WantNodes):
                pending.append(describe(asked.map.tree, question.prefixes))
            else:
                assert isinstance(question, WantItems)
                travelled += _hand_over(asked, asking, question.slots + question.new)
    return travelled


def _hand_over(source: Replica, target: Replica, slots: list[Slot]) -> int:
    for slot in slots:
        statement = source.statement(slot)
        assert not isinstance(statement, Removal | None)
        assert isinstance(target.take(statement.record), Change)
    return len(slots)


def _order(replica: Replica, slot: Slot) -> object:
    held = replica.map.get(slot.key)
    return None if held is None else held.order(slot.kind)


_records = st.lists(
    st.tuples(st.integers(0, _NODES - 1), st.sampled_from([Kind.ENTRY, Kind.VERDICT]), st.integers(1, 3)), max_size=60
)


@given(_records, _records, _records)
@settings(max_examples=40, deadline=None)
def test_one_comparison_makes_two_maps_equal_and_moves_the_difference_only(
    common: list[tuple[int, Kind, int]], mine: list[tuple[int, Kind, int]], theirs: list[tuple[int, Kind, int]]
) -> None:
    one, other = _replica(common + mine), _replica(common + theirs)
    slots = [Slot(kind, node_key(f"p{node}")) for node in range(_NODES) for kind in MapKind]
    different = sum(_order(one, slot) != _order(other, slot) for slot in slots)
    assert _compare(one, other) == different
    assert one.map.root == other.map.root
    assert _compare(other, one) == 0


@given(_records)
@settings(max_examples=20, deadline=None)
def test_what_a_node_answers_is_its_own_tree(records: list[tuple[int, Kind, int]]) -> None:
    replica = _replica(records)
    answer = describe(replica.map.tree, [b""])
    assert isinstance(answer, Nodes)
    assert descend(replica.map.tree, answer) == (Difference(), [])


@given(
    st.lists(_keys, unique=True),
    st.none() | _keys,
    st.none() | _keys,
    st.sets(_keys),
    st.sets(_keys),
)
def test_a_kept_choice_stays_and_two_are_named_where_two_can_be_had(
    order: list[bytes], home: bytes | None, backup: bytes | None, keeps: set[bytes], takes: set[bytes]
) -> None:
    chosen = choose(order, home, backup, keeps.__contains__, takes.__contains__)
    for before in (home, backup):
        if before is not None and before in keeps:
            assert before in chosen
    able = {key for key in (home, backup) if key is not None and key in keeps} | (takes & set(order))
    if len(able) >= 2:
        assert set(chosen) <= able
        assert None not in chosen
        assert chosen[0] != chosen[1]
