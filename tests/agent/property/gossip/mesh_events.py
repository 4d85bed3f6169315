"""What happens to a mesh: events for properties of what follows a map change by change."""

from __future__ import annotations

from hypothesis import strategies as st

from gossip_members import Members, key
from smegmesh.crdt.verdict import Accusation
from smegmesh.gossip.directory import NO_EFFECT, Effect

NAMES = "abcdef"
ADDRESSES = ("one.example:4000", "two.example:4000")

Event = tuple[object, ...]

_name = st.sampled_from(NAMES)
comings_and_goings = st.one_of(
    st.tuples(st.just("peer"), _name, st.sets(st.sampled_from([*ADDRESSES, "three.example:4000"])).map(sorted)),
    st.tuples(st.just("client"), _name, st.lists(_name, max_size=2)),
    st.tuples(st.just("leave"), _name),
    st.tuples(st.just("prune"), _name),
)
verdicts = st.one_of(
    st.tuples(st.just("silent"), st.sets(_name, min_size=1, max_size=3)),
    st.tuples(st.just("heard"), _name),
    st.tuples(st.just("accuse"), _name, st.dictionaries(_name, st.tuples(st.integers(-1, 1), st.booleans()))),
)
#: Several before anybody looks again.
batches = st.lists(st.lists(st.one_of(comings_and_goings, verdicts), min_size=1, max_size=4), max_size=12)


def apply(members: Members, event: Event) -> Effect:
    """Let it happen; returns what it did to who is a member."""
    match event:
        case "peer", str(name), list(links):
            return members.put(name, links=tuple(links))
        case "client", str(name), list(homes):
            return members.put(name, *homes, client=True)
        case "leave", str(name):
            return members.remove(name)
        case "prune", str(name):
            return members.prune(name)
        case "silent", set(names):  # the others accuse them, members or not
            more = {key(name): Accusation(members.map.floor(key(name))) for name in names}
            for writer in sorted({*NAMES} - names):
                members.accuse(writer, members.verdicts.get(key(writer), {}) | more)
        case "heard", str(name):  # nobody accuses it any more
            for writer in NAMES:
                verdict = members.verdicts.get(key(writer), {})
                members.accuse(writer, {of: said for of, said in verdict.items() if of != key(name)})
        case "accuse", str(writer), dict(accused):  # by numbers that are void, good, good after the next raise too
            floors = {name: members.map.floor(key(name)) for name in accused}
            said = {key(name): Accusation(max(floors[name] + by, 0), mute) for name, (by, mute) in accused.items()}
            members.accuse(writer, said)
        case _:
            raise AssertionError(event)
    return NO_EFFECT
