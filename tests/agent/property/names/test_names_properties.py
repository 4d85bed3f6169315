"""Whatever members there are and whatever is asked: the answer follows from the members, by a rule written twice."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address

import dns.message
import dns.name
from hypothesis import given, settings
from hypothesis import strategies as st

from named import MESH, addresses, ask, code, judged, key, member, server, texts, view
from smegmesh.gossip.view import Liveness, Member
from smegmesh.names.message import MessageError, read_query

WORDS = ("web", "db", "a1", "b2", "mail")
NODES = tuple(f"{stem}{end}" for stem in ("a", "b", "c", "d") for end in ("1", "2", ".example.org"))
SERVICES = {"https": "tcp/443", "dns": "udp/53", "ssh": "tcp/22 note", "other": "somewhere"}


@st.composite
def member_of(draw: st.DrawFn, name: str) -> Member:
    offered = draw(st.sets(st.sampled_from(sorted(SERVICES))))
    return member(
        draw(st.sampled_from([name, name, name.upper(), "a1"])),
        draw(st.none() | st.sampled_from(WORDS)),
        {each: SERVICES[each] for each in offered},
        liveness=draw(st.sampled_from(Liveness)),
        node_key=key(name),
    )


@st.composite
def meshes(draw: st.DrawFn) -> tuple[Member, ...]:
    """Those that there are at one time."""
    chosen = draw(st.sets(st.sampled_from(NODES)))
    return tuple(draw(member_of(name)) for name in sorted(chosen))


LABELS = st.sampled_from([*WORDS, *(name for name in NODES if "." not in name), "x"])


def holders(label: str, members: Sequence[Member]) -> list[Member]:
    """Whose name it is: of whom the certificate says so, or else of all whose alias it is; those who live."""
    named = [each for each in members if each.entry.name.lower() == label]
    aliased = [each for each in members if each.entry.alias == label]
    return [each for each in named or aliased if each.liveness is not Liveness.DOWN or each.node_key == key("a1")]


@settings(deadline=None)
@given(st.lists(meshes(), min_size=1, max_size=4), LABELS)
def test_whatever_changes_the_answer_is_that_of_the_members_of_now(
    history: list[tuple[Member, ...]], label: str
) -> None:
    names = server(*(view(*members) for members in history))
    expected = addresses(holders(label, history[-1]))
    answer = ask(names, f"{label}.prod.smeg", tcp=True)
    assert texts(answer) == expected
    assert code(answer) == ("NOERROR" if expected else "NXDOMAIN")


@settings(deadline=None, max_examples=40)
@given(st.lists(meshes(), min_size=1, max_size=3))
def test_followed_step_by_step_is_as_seen_at_once(history: list[tuple[Member, ...]]) -> None:
    followed, fresh = server(*(view(*members) for members in history)), server(view(*history[-1]))
    labels = [*WORDS, *(name for name in NODES if "." not in name)]
    questions = [(f"{label}.prod.smeg", "AAAA") for label in labels]
    questions += [(f"_{service}._tcp.{label}prod.smeg", "SRV") for service in SERVICES for label in ("", "web.", "a1.")]
    questions += [(f"_{service}._udp.prod.smeg", "TXT") for service in SERVICES] + [("_tcp.prod.smeg", "SRV")]
    questions += [(member(name).address.reverse_pointer, "PTR") for name in NODES]
    for name, rrtype in questions:
        one, other = (ask(names, name, rrtype, tcp=True) for names in (followed, fresh))
        assert (code(one), texts(one)) == (code(other), texts(other)), name
    assert followed.problems(MESH) == fresh.problems(MESH)


@settings(deadline=None)
@given(meshes())
def test_whoever_lives_and_has_a_name_is_found_by_it(members: tuple[Member, ...]) -> None:
    names = server(view(*members))
    for each in members:
        answer = ask(names, each.address.reverse_pointer, "PTR")
        for name in texts(answer):
            assert str(each.address) in texts(ask(names, name, tcp=True))
        # An alias that is somebody's name is the one way to none.
        if not texts(answer) and each.liveness is Liveness.ALIVE:
            assert "." in each.entry.name
            assert each.entry.alias in {other.entry.name.lower() for other in members}


@settings(deadline=None, max_examples=30)
@given(meshes())
def test_every_name_that_others_end_in_is_there(members: tuple[Member, ...]) -> None:
    names = server(view(*members))
    for each in members:
        labels = each.address.reverse_pointer.split(".")
        found = [code(ask(names, ".".join(labels[count:]), "PTR")) for count in range(16)]
        alive = each.liveness is not Liveness.DOWN or each.node_key == key("a1")
        assert "NXDOMAIN" not in found if alive else found[0] == "NXDOMAIN"
    for service, protocol in (("https", "tcp"), ("dns", "udp")):
        for owner in ("", "a1.", "web."):
            if code(ask(names, f"_{service}._{protocol}.{owner}prod.smeg", "SRV", tcp=True)) == "NOERROR":
                assert code(ask(names, f"_{protocol}.{owner}prod.smeg", "SRV")) == "NODATA"


NAMES = server(view(member("a1", "web", SERVICES), member("b2.example.org")))
WIRE_LABELS = st.binary(min_size=1, max_size=63)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(WIRE_LABELS, max_size=4),
    st.sampled_from(["prod.smeg", "smeg", str(IPv6Address(1).reverse_pointer), "example.org"]),
    st.integers(0, 65535),
    st.sampled_from([1, 3, 255]),
    st.booleans(),
)
def test_any_name_type_and_class_gets_an_answer_that_dnspython_reads(
    labels: list[bytes], end: str, rrtype: int, rrclass: int, tcp: bool
) -> None:
    name = dns.name.Name([*labels, *dns.name.from_text(end).labels])
    judged(NAMES, dns.message.make_query(name, rrtype, rrclass), tcp=tcp)


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=600))
def test_any_bytes_are_taken_or_refused_by_name(data: bytes) -> None:
    for message in (data, b"\0\x01\0\0\0\x01\0\0\0\0\0\0" + data, b"\0\x01\0\0\0\x01\0\0\0\0\0\x01\x01a\0" + data):
        try:
            if len(message) >= 12:
                read_query(message)
        except MessageError:
            pass
        answer = NAMES.answer(message, tcp=False)
        assert answer is None or dns.message.from_wire(answer, ignore_trailing=False).id == int.from_bytes(
            message[:2], "big"
        )
