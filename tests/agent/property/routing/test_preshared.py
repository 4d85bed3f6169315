"""Two nodes that hold, get and lose preshared keys, and hear of each other late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.crdt.entry import Entry, PairTags, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.routing.preshared import Keyring, Pairs, agreed_key, make_keyring

MESH = "prod"
KEYS = [bytes([number]) * 32 for number in (1, 2, 3)]
NODES = {"a": b"a" * 32, "b": b"b" * 32}


class Node:
    """What one of the two holds, says, and has heard of the other."""

    def __init__(self, name: str) -> None:
        self.name, self.other = name, "b" if name == "a" else "a"
        self.keyring = Keyring(name)
        self.heard: Mapping[str, PairTags] = {}
        self.pairs = Pairs(self.keyring, self.view)
        self.sent: deque[Mapping[str, PairTags]] = deque()
        self._said: Mapping[str, PairTags] = {}

    @property
    def view(self) -> View:
        said = {self.other: self.heard}
        members = {
            NODES[name]: Member(
                NODES[name],
                node_address(MESH, NODES[name]),
                Entry(name, Role.PEER, NODES[name], preshared=said.get(name, {})),
                1,
                Liveness.ALIVE,
            )
            for name in NODES
        }
        return View(MESH, NODES[self.name], members, None, b"")

    def hold(self, *keys: bytes) -> None:
        self.keyring = make_keyring(MESH, self.name, {self.other: keys} if keys else {})
        self.pairs = Pairs(self.keyring, self.view)
        self._speak()

    def hear(self, said: Mapping[str, PairTags]) -> None:
        self.heard = said
        self.pairs.follow(self.view)
        self._speak()

    def _speak(self) -> None:
        if self.pairs.said() != self._said:
            self._said = self.pairs.said()
            self.sent.append(self._said)

    @property
    def uses(self) -> bytes | None:
        return agreed_key(self.keyring, NODES[self.name], self.view.members[NODES[self.other]])


held = st.lists(st.sampled_from(KEYS), max_size=2, unique=True)
acts = st.lists(st.tuples(st.sampled_from("ab"), st.none() | held), max_size=30)


@given(acts)
@settings(max_examples=400, deadline=None)
def test_once_all_is_heard_both_use_one_key_if_they_share_any(course: list[tuple[str, list[bytes] | None]]) -> None:
    nodes = {name: Node(name) for name in NODES}
    holds: dict[str, list[bytes]] = {"a": [], "b": []}
    ever: dict[str, set[bytes]] = {"a": set(), "b": set()}

    def deliver(to: str) -> None:
        sender = nodes[nodes[to].other]
        if sender.sent:
            nodes[to].hear(sender.sent.popleft())

    for name, keys in course:
        if keys is None:
            deliver(name)
        else:
            nodes[name].hold(*keys)
            holds[name] = keys
            ever[name] |= {*keys}
        for node in nodes.values():
            assert node.uses is None or node.uses in ever[node.other], "nobody uses what the other never had"
    while any(node.sent for node in nodes.values()):
        for name in nodes:
            deliver(name)
    one, other = (node.uses for node in nodes.values())
    shared = [key for key in holds["a"] if key in holds["b"]]
    assert one == other == (shared[0] if shared else None), "the lower node key has the word"


def test_neither_uses_a_key_before_the_other_has_said_that_it_heard_of_it() -> None:
    a, b = Node("a"), Node("b")
    a.hold(KEYS[0])
    b.hear(a.sent.popleft())
    b.hold(KEYS[0])
    assert (a.uses, b.uses) == (None, None), "one offers, the other has accepted, and nobody knows that yet"
    a.hear(b.sent.popleft())
    assert (a.uses, b.uses) == (KEYS[0], None)
    b.hear(a.sent.popleft())
    assert (a.uses, b.uses) == (KEYS[0], KEYS[0])


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_key_is_replaced_host_by_host_and_at_no_moment_there_is_none(order: str) -> None:
    nodes = {name: Node(name) for name in NODES}

    def settle(check: Callable[[], None] = lambda: None) -> None:
        while any(node.sent for node in nodes.values()):
            for node in nodes.values():
                while node.sent:
                    nodes[node.other].hear(node.sent.popleft())
                    check()

    def protected() -> None:
        assert None not in [node.uses for node in nodes.values()]

    for name in order:
        nodes[name].hold(KEYS[0])
    settle()
    for name in order:
        nodes[name].hold(KEYS[1], KEYS[0])
        settle(protected)
    assert [node.uses for node in nodes.values()] == [KEYS[1]] * 2


def test_a_tag_is_of_one_pair_in_one_mesh_and_the_same_at_both_ends() -> None:
    def tag(mesh: str, own: str, other: str) -> bytes:
        return make_keyring(mesh, own, {other: (KEYS[0],)}).keys[other][0].tag

    assert tag("prod", "a", "b") == tag("prod", "b", "a")
    tags = [tag(*words) for words in (("prod", "a", "b"), ("prod", "a", "c"), ("office", "a", "b"))]
    assert len({*tags}) == 3
    assert KEYS[0].hex() not in repr(make_keyring("prod", "a", {"b": (KEYS[0],)}))
    assert repr(KEYS[0]) not in repr(make_keyring("prod", "a", {"b": (KEYS[0],)}))
