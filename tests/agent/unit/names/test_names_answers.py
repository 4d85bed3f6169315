"""What is answered for a mesh; every answer is read by dnspython."""

from __future__ import annotations

import hashlib

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from named import MESH, NOW, addresses, ask, code, judged, key, member, server, texts, view
from smegmesh.gossip.view import Liveness
from smegmesh.names import register, zones
from smegmesh.names.words import spell

A1 = member("a1", services={"https": "tcp/443 path=/status v=1", "dns": "udp/53", "note": "on the second floor"})
B2 = member("B2", alias="web", services={"https": "tcp/8443"})
PLACES = view(A1, B2)


def test_a_member_goes_by_the_name_of_its_certificate_and_by_its_alias_in_any_case() -> None:
    names = server(PLACES)
    for name in ("b2.prod.smeg", "B2.PROD.smeg", "web.prod.smeg", "wEB.Prod.SMEG"):
        assert texts(ask(names, name)) == [str(B2.address)]


def test_the_answer_repeats_the_question_as_it_was_written() -> None:
    """Resolvers hide a secret in the case of letters (draft-vixie-dnsext-dns0x20)."""
    asked = dns.message.make_query("wEb.pRoD.SmEg", "AAAA")
    wire = server(PLACES).answer(asked.to_wire(), tcp=False)
    assert wire is not None
    assert b"\x03wEb\x04pRoD\x04SmEg\x00" in wire


def test_an_address_leads_to_the_name_and_the_name_to_the_address() -> None:
    names = server(PLACES)
    for each, name in ((A1, "a1"), (B2, "b2")):
        assert texts(ask(names, each.address.reverse_pointer, "PTR")) == [f"{name}.prod.smeg."]
        assert texts(ask(names, f"{name}.prod.smeg")) == [str(each.address)]


def test_services_of_a_member_and_of_the_mesh() -> None:
    names = server(PLACES)
    assert texts(ask(names, "_https._tcp.web.prod.smeg", "SRV")) == ["0 0 8443 b2.prod.smeg."]
    assert texts(ask(names, "_https._tcp.prod.smeg", "SRV")) == ["0 0 443 a1.prod.smeg.", "0 0 8443 b2.prod.smeg."]
    assert texts(ask(names, "_https._tcp.a1.prod.smeg", "TXT")) == ['"path=/status" "v=1"']
    assert texts(ask(names, "_https._tcp.web.prod.smeg", "TXT")) == ['""']  # RFC 6763, 6.1
    assert texts(ask(names, "_dns._udp.prod.smeg", "SRV")) == ["0 0 53 a1.prod.smeg."]
    for absent in ("_note._tcp.prod.smeg", "_dns._tcp.a1.prod.smeg", "_https._tcp.c3.prod.smeg"):
        assert code(ask(names, absent, "SRV")) == "NXDOMAIN"


@pytest.mark.parametrize("value", ["tcp/0", "tcp/65536", "tcp/x", "sctp/1", "443", "tcp/443x", " tcp/443", "TCP/443"])
def test_what_is_no_port_is_no_service_of_dns(value: str) -> None:
    names = server(view(member("a1", services={"https": value})))
    assert code(ask(names, "_https._tcp.a1.prod.smeg", "SRV")) == "NXDOMAIN"


def test_the_apex_says_who_answers() -> None:
    names = server(PLACES)
    reverse = A1.address.reverse_pointer.split(".", 16)[16]
    for apex in ("prod.smeg", reverse):
        assert texts(ask(names, apex, "NS")) == ["a1.prod.smeg."]
        assert texts(ask(names, apex, "SOA")) == [f"a1.prod.smeg. hostmaster.prod.smeg. {NOW:.0f} 3600 600 86400 5"]
        assert code(ask(names, apex, "AAAA")) == "NODATA"


@pytest.mark.parametrize(
    ("name", "rrtype", "expected"),
    [
        ("a1.prod.smeg", "A", "NODATA"),
        ("nobody.prod.smeg", "AAAA", "NXDOMAIN"),
        ("x.a1.prod.smeg", "AAAA", "NXDOMAIN"),
        ("_tcp.prod.smeg", "SRV", "NODATA"),  # others end in it (RFC 8020)
        ("_udp.prod.smeg", "SRV", "NODATA"),
        ("_tcp.a1.prod.smeg", "SRV", "NODATA"),
        ("_udp.web.prod.smeg", "SRV", "NXDOMAIN"),
        ("_sctp.prod.smeg", "SRV", "NXDOMAIN"),
        ("https._tcp.prod.smeg", "SRV", "NXDOMAIN"),
        ("x._https._tcp.prod.smeg", "SRV", "NXDOMAIN"),
        ("_https._tcp.prod.smeg", "AAAA", "NODATA"),
        ("smeg", "AAAA", "REFUSED"),
        ("office.smeg", "AAAA", "REFUSED"),
        ("example.org", "AAAA", "REFUSED"),
        (".", "NS", "REFUSED"),
        ("prod.smeg", "AXFR", "REFUSED"),
        ("a1.prod.smeg", "ANY", "NOERROR"),
    ],
)
def test_what_is_there_and_what_is_not(name: str, rrtype: str, expected: str) -> None:
    assert code(ask(server(PLACES), name, rrtype)) == expected


def test_every_shorter_reverse_name_is_there_if_somebody_has_an_address_under_it() -> None:
    names = server(PLACES)
    labels = A1.address.reverse_pointer.split(".")
    for count in range(1, 16):
        assert code(ask(names, ".".join(labels[count:]), "PTR")) == "NODATA"
    other = "0" if labels[0] != "0" else "1"
    assert code(ask(names, ".".join([other, *labels[1:]]), "PTR")) == "NXDOMAIN"
    assert code(ask(names, ".".join(["0", *labels]), "PTR")) == "NXDOMAIN"
    assert code(ask(names, ".".join(["10", *labels[1:]]), "PTR")) == "NXDOMAIN"


def test_who_is_down_is_not_named_but_who_is_mute_is() -> None:
    names = server(PLACES)
    assert len(texts(ask(names, "_https._tcp.prod.smeg", "SRV"))) == 2
    names.follow(view(A1, member("B2", "web", {"https": "tcp/8443"}, liveness=Liveness.DOWN)))
    for name in ("b2.prod.smeg", "web.prod.smeg", B2.address.reverse_pointer, "_https._tcp.web.prod.smeg"):
        assert code(ask(names, name)) == "NXDOMAIN"
    assert texts(ask(names, "_https._tcp.prod.smeg", "SRV")) == ["0 0 443 a1.prod.smeg."]
    names.follow(view(A1, member("B2", "web", liveness=Liveness.MUTE)))
    assert texts(ask(names, "web.prod.smeg")) == [str(B2.address)]


def test_of_two_at_one_address_the_one_in_the_view_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that somebody ground for it: the view shows the lower one, which may come later."""
    monkeypatch.setattr(register, "node_hash", lambda _key: A1.address.packed[8:] + bytes(24))
    twins = sorted((member("a1"), member("c3")), key=lambda each: each.node_key)
    for first, second in (twins, reversed(twins)):
        names = server(view(first))
        for following in ((second,), (first,), (second,)):
            names.follow(view(*following))
            assert texts(ask(names, A1.address.reverse_pointer, "PTR")) == [f"{following[0].entry.name}.prod.smeg."]


def test_the_host_itself_is_named_whatever_others_say() -> None:
    names = server(view(member("a1", liveness=Liveness.DOWN)))
    assert texts(ask(names, "a1.prod.smeg")) == [str(A1.address)]


def test_nodes_that_share_an_alias_are_all_answered_and_told_of() -> None:
    nodes = [member(name, "web") for name in ("a1", "b2", "c3")]
    names = server(view(*nodes))
    assert texts(ask(names, "web.prod.smeg")) == addresses(nodes)
    (problem,) = names.problems(MESH)
    assert problem.startswith("web is the alias of ")
    assert {"a1", "b2", "c3"} <= set(problem.replace(",", " ").replace(":", " ").split())


def test_an_alias_takes_nobodys_name_even_if_that_one_is_down() -> None:
    owner, thief = member("db", liveness=Liveness.DOWN), member("evil", "db")
    names = server(view(A1, owner, thief))
    assert code(ask(names, "db.prod.smeg")) == "NXDOMAIN"
    assert names.problems(MESH) == ["db is db, so it is no alias of evil"]
    assert texts(ask(names, thief.address.reverse_pointer, "PTR")) == ["evil.prod.smeg."]
    names.follow(view(A1, member("db"), thief))
    assert texts(ask(names, "db.prod.smeg")) == [str(owner.address)]


def test_without_a_name_that_is_a_label_a_node_goes_by_its_alias_or_else_by_words() -> None:
    aliased, wordy = member("a1.example.org", "a1"), member("b2.example.org")
    names = server(view(aliased, wordy))
    assert texts(ask(names, "a1.prod.smeg")) == [str(aliased.address)]
    (name,) = texts(ask(names, wordy.address.reverse_pointer, "PTR"))
    assert texts(ask(names, name)) == [str(wordy.address)]
    # The words spell the address: they are the same on all hosts, and tomorrow.
    assert name == f"{spell(wordy.address.packed[8:10])}.prod.smeg."


def test_a_member_goes_by_whatever_leads_to_it() -> None:
    """Who is certified under such a name takes it."""
    wordy = member("b2.example.org")
    place = wordy.address.packed[8:16]
    for count in range(2, 9):
        assert register.goes_by(spell(place[:count]).upper(), wordy.node_key, wordy.entry)
    assert not register.goes_by(spell(place[1:3]), wordy.node_key, wordy.entry)
    assert all(register.goes_by(name, B2.node_key, B2.entry) for name in ("b2", "B2", "WEB"))
    assert not register.goes_by("b3", B2.node_key, B2.entry)


def test_the_name_of_a_certificate_comes_before_words() -> None:
    wordy = member("b2.example.org")
    named = member(spell(wordy.address.packed[8:10]))
    names = server(view(wordy, named))
    assert texts(ask(names, f"{named.entry.name}.prod.smeg")) == [str(named.address)]
    assert code(ask(names, wordy.address.reverse_pointer, "PTR")) == "NODATA"  # no name that leads to another node


def test_of_many_conflicts_some_are_told() -> None:
    names = server(view(*(member(f"n{number}", f"web{number // 50}") for number in range(3000))))
    problems = names.problems(MESH)
    assert len(problems) == 11
    assert problems[-1] == "50 more names are not one node's alone"
    assert problems[0].endswith(", 40 more: all are answered")


def test_words_that_two_nodes_share_name_neither() -> None:
    first = member("n.0")
    second = next(
        each
        for each in (member(f"n.{number}") for number in range(1, 400_000))
        if each.address.packed[8:10] == first.address.packed[8:10]
    )
    names = server(view(first, second))
    assert code(ask(names, f"{spell(first.address.packed[8:10])}.prod.smeg")) == "NXDOMAIN"
    for each in (first, second):
        assert texts(ask(names, f"{spell(each.address.packed[8:11])}.prod.smeg")) == [str(each.address)]
    names.follow(view(first))
    assert texts(ask(names, f"{spell(first.address.packed[8:10])}.prod.smeg")) == [str(first.address)]


def test_words_are_labels_whatever_the_key() -> None:
    labels = {spell(bytes([byte] * count)) for byte in range(256) for count in range(2, 9)}
    assert len(labels) == 256 * 7
    assert max(map(len, labels)) <= 63


def test_the_words_are_those_that_all_agents_know() -> None:
    """Another word for a byte is another name for nodes, on the hosts that have it."""
    words = " ".join(spell(bytes([byte, byte])) for byte in range(256))
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "551998d2f7ad90fe091b60398a2f4c9ff682b338a65ef86432ce0cc147477f4c"
    )


def test_meshes_have_names_of_their_own_and_lose_them_when_they_are_left() -> None:
    there = member("a1", mesh="office.example.org")
    names = server(PLACES, view(there, mesh="office.example.org"), domain="mesh.test")
    assert texts(ask(names, "a1.office.example.org.mesh.test")) == [str(there.address)]
    assert texts(ask(names, "a1.prod.mesh.test")) == [str(A1.address)]
    names.drop("office.example.org")
    assert code(ask(names, "a1.office.example.org.mesh.test")) == "REFUSED"
    assert code(ask(names, there.address.reverse_pointer, "PTR")) == "REFUSED"
    assert texts(ask(names, "a1.prod.mesh.test")) == [str(A1.address)]


def test_a_mesh_whose_id_ends_in_another_ones() -> None:
    inner = member("a1", mesh="x.y.prod")
    names = server(PLACES, view(inner, mesh="x.y.prod"))
    assert texts(ask(names, "a1.x.y.prod.smeg")) == [str(inner.address)]
    assert code(ask(names, "y.prod.smeg")) == "NODATA"  # a resolver that minimises names must get on (RFC 9156)
    assert code(ask(names, "z.prod.smeg")) == "NXDOMAIN"


def test_a_mesh_whose_names_would_be_too_long_has_none_and_says_so() -> None:
    mesh = ".".join(["a" * 60] * 4)
    names = server(PLACES, view(member("a1", mesh=mesh), mesh=mesh))
    assert names.problems(mesh)[0].startswith("no names: ")
    assert names.domains(mesh) == []
    assert texts(ask(names, "a1.prod.smeg")) == [str(A1.address)]


def test_the_serial_grows_with_each_change_of_names_and_only_then() -> None:
    names = server(PLACES)

    def serial() -> int:
        return int(texts(ask(names, "prod.smeg", "SOA"))[0].split()[2])

    first = serial()
    names.follow(view(A1, B2))
    assert serial() == first
    names.follow(view(A1))
    assert serial() == first + 1


def test_what_does_not_fit_into_a_datagram_is_told_by_tcp() -> None:
    nodes = [member(f"n{number}", "web", {"https": "tcp/443"}) for number in range(100)]
    names = server(view(*nodes))
    for name, rrtype in (("web.prod.smeg", "AAAA"), ("_https._tcp.prod.smeg", "SRV")):
        for query in ({}, {"use_edns": 0, "payload": 4096}, {"use_edns": 0, "payload": 100}):
            short = ask(names, name, rrtype, **query)
            assert short.flags & dns.flags.TC
            assert not short.answer
        assert len(texts(ask(names, name, rrtype, tcp=True))) == 100
    few = server(view(*nodes[:30]))
    assert ask(few, "web.prod.smeg").flags & dns.flags.TC
    assert len(texts(ask(few, "web.prod.smeg", use_edns=0, payload=1232))) == 30


def test_thousands_of_one_name_are_cut_to_what_a_message_holds() -> None:
    names = server(view(*(member(f"n{number}.x", "web", {"https": "tcp/443"}) for number in range(3000))))
    assert len(texts(ask(names, "web.prod.smeg", tcp=True))) == 256
    assert texts(ask(names, "_https._tcp.prod.smeg", "SRV")) == ["0 0 443 web.prod.smeg."]
    names = server(view(*(member(f"n{number}", services={"https": "tcp/443"}) for number in range(3000))))
    assert len(texts(ask(names, "_https._tcp.prod.smeg", "SRV", tcp=True))) == 256


def test_a_name_of_thousands_costs_what_its_answer_holds_and_that_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = server(view(*(member(f"n{number}", "web", {"https": "tcp/443"}) for number in range(3000))))
    read = count(monkeypatch, register, "_known")
    made = count(monkeypatch, zones, "node_address")
    for _again in range(3):
        assert len(texts(ask(names, "web.prod.smeg", tcp=True))) == 256
        assert len(texts(ask(names, "_https._tcp.web.prod.smeg", "SRV", tcp=True))) == 256
    assert len(made) == 256
    assert len(read) <= 4 * 256


def test_an_answer_is_remembered_until_the_next_change() -> None:
    names = server(view(A1, B2, member("c3", "web", {"https": "tcp/443"})))
    assert len(texts(ask(names, "web.prod.smeg"))) == 2
    assert len(texts(ask(names, "_https._tcp.web.prod.smeg", "SRV"))) == 2
    names.follow(view(A1, B2, member("c3", "web", {"https": "tcp/443"}, liveness=Liveness.DOWN)))
    assert texts(ask(names, "web.prod.smeg")) == [str(B2.address)]
    assert texts(ask(names, "_https._tcp.web.prod.smeg", "SRV")) == ["0 0 8443 b2.prod.smeg."]


def test_conflicts_are_looked_for_once_and_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    names = server(view(A1, B2, member("c3.x", "web")))
    looked = count(monkeypatch, register.Register, "holders")
    assert names.problems(MESH) == names.problems(MESH)
    assert len(looked) == 1, "there is one alias"
    renamed = member("d4.x", "web", node_key=key("c3.x"))
    names.follow(view(A1, B2, renamed))
    assert "d4.x" in names.problems(MESH)[0]
    names.follow(view(A1, B2))
    assert names.problems(MESH) == []


def count(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[object]:
    """The calls of a function from now on."""
    calls: list[object] = []
    real = getattr(owner, name)

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(owner, name, counted)
    return calls


def test_edns() -> None:
    names = server(PLACES)
    answer = ask(names, "a1.prod.smeg", use_edns=0, payload=4096, ednsflags=dns.flags.DO)
    assert (answer.edns, answer.payload, answer.ednsflags) == (0, 1232, dns.flags.DO)
    newer = ask(names, "a1.prod.smeg", use_edns=1)
    assert (newer.rcode(), newer.edns, newer.answer) == (dns.rcode.BADVERS, 0, [])
    cookie = [dns.edns.GenericOption(10, bytes(8))]
    assert code(ask(names, "a1.prod.smeg", use_edns=0, options=cookie)) == "NOERROR"


QUERY = dns.message.make_query("a1.prod.smeg", "AAAA", use_edns=False, id=4711).to_wire()
OPT = b"\0\0\x29\x10\0\0\0\0\0\0\0"


def with_opt(*options: bytes) -> bytes:
    return QUERY[:11] + bytes([len(options)]) + QUERY[12:] + b"".join(options)


@pytest.mark.parametrize(
    "data",
    [
        QUERY[:-1],
        QUERY + b"\0",
        QUERY[:5] + b"\x02" + QUERY[6:],  # two questions
        QUERY[:5] + b"\0" + QUERY[6:12],  # none
        QUERY[:7] + b"\x01" + QUERY[8:],  # an answer in a question
        QUERY[:12] + b"\xc0\x0c" + QUERY[-4:],  # a name that is its own end
        QUERY[:12] + b"\x40" + QUERY[13:],
        QUERY[:12] + b"\x01a" * 127 + b"\x01a\0" + QUERY[-4:],  # a name of 257 bytes
        with_opt(OPT, OPT),
        with_opt(b"\x01a" + OPT),
        with_opt(OPT[:-1] + b"\x04\0\x0a\0\x08"),  # an option longer than its record
        with_opt(OPT[:-1] + b"\x09"),
    ],
)
def test_what_cannot_be_read_is_a_format_error(data: bytes) -> None:
    wire = server(PLACES).answer(data, tcp=False)
    assert wire is not None
    answer = dns.message.from_wire(wire)
    assert answer.rcode() == dns.rcode.FORMERR
    assert answer.id == int.from_bytes(data[:2], "big")


def test_what_gets_no_answer() -> None:
    answer = QUERY[:2] + b"\x81" + QUERY[3:]
    for data in (b"", QUERY[:11], answer):
        assert server(PLACES).answer(data, tcp=False) is None


def test_what_is_no_query() -> None:
    for opcode in (dns.opcode.NOTIFY, dns.opcode.UPDATE, dns.opcode.STATUS):
        asked = dns.message.from_wire(QUERY)
        asked.set_opcode(opcode)
        wire = server(PLACES).answer(asked.to_wire(), tcp=False)
        assert wire is not None
        answer = dns.message.from_wire(wire)
        assert (answer.rcode(), answer.opcode()) == (dns.rcode.NOTIMP, opcode)


def test_other_classes_are_refused() -> None:
    asked = dns.message.make_query("version.bind", "TXT", "CH")
    assert code(judged(server(PLACES), asked)) == "REFUSED"
    asked = dns.message.make_query("a1.prod.smeg", "AAAA", "CH")
    assert code(judged(server(PLACES), asked)) == "REFUSED"


def test_the_own_name_before_the_own_entry_is_there() -> None:
    names = server(view(B2))
    assert texts(ask(names, "prod.smeg", "NS")) == [f"{spell(A1.address.packed[8:10])}.prod.smeg."]
    assert key("a1") == A1.node_key
