"""Members with names, a server that answers for them, and dnspython as the judge of what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from smegmesh.crdt.entry import Entry, Role
from smegmesh.gossip.view import Liveness, Member, View
from smegmesh.identity.address import node_address
from smegmesh.names.server import NameServer

MESH = "prod"
NOW = 1_800_000_000.0


def key(name: str) -> bytes:
    """The node key of this name, always the same."""
    return hashlib.sha256(name.encode()).digest()


def member(
    name: str,
    alias: str | None = None,
    services: Mapping[str, str] | None = None,
    *,
    mesh: str = MESH,
    liveness: Liveness = Liveness.ALIVE,
    node_key: bytes | None = None,
) -> Member:
    """A peer that says this of itself."""
    node_key = node_key or key(name)
    entry = Entry(name, Role.PEER, node_key, alias=alias, services=services or {})
    return Member(node_key, node_address(mesh, node_key), entry, 1, liveness)


def view(*members: Member, mesh: str = MESH, own: str = "a1") -> View:
    """What the host `own` sees."""
    return View(mesh, key(own), {each.node_key: each for each in members}, None, bytes(32))


def server(*views: View, domain: str = "smeg") -> NameServer:
    """One that answers as these views say."""
    made = NameServer(domain, lambda: NOW)
    for each in views:
        made.follow(each)
    return made


def ask(
    answers: NameServer, name: str, rrtype: str = "AAAA", *, tcp: bool = False, **query: object
) -> dns.message.Message:
    """The answer to a question, read and held against it by dnspython."""
    asked = dns.message.make_query(name, rrtype, **query)  # type: ignore[arg-type]
    return judged(answers, asked, tcp=tcp)


def judged(answers: NameServer, asked: dns.message.Message, *, tcp: bool = False) -> dns.message.Message:
    """The answer to a message: whole, of the right size, and one that says nothing twice."""
    wire = answers.answer(asked.to_wire(), tcp=tcp)
    assert wire is not None
    answer = dns.message.from_wire(wire, one_rr_per_rrset=False, ignore_trailing=False)
    assert asked.is_response(answer)
    assert not answer.flags & (dns.flags.RA | dns.flags.AD)
    assert bool(answer.flags & dns.flags.RD) == bool(asked.flags & dns.flags.RD)
    assert (answer.edns >= 0) == (asked.edns >= 0)
    assert len(wire) <= (65535 if tcp else max(512, min(1232, asked.payload if asked.edns >= 0 else 512)))
    for section in (answer.answer, answer.authority):
        assert all(rrset.rdclass == dns.rdataclass.IN and 0 < rrset.ttl <= 10 for rrset in section)
        assert len({(rrset.name, rrset.rdtype) for rrset in section}) == len(section)
    assert all(rrset.name == asked.question[0].name for rrset in answer.answer)
    if answer.rcode() == dns.rcode.REFUSED:
        assert not answer.answer and not answer.authority and not answer.flags & dns.flags.AA
    elif answer.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        assert answer.flags & dns.flags.AA
        assert bool(answer.answer) + bool(answer.authority) + bool(answer.flags & dns.flags.TC) == 1
        soas(answer)
    return answer


def soas(answer: dns.message.Message) -> None:
    """Whatever is negative tells its zone (RFC 2308)."""
    for rrset in answer.authority:
        assert rrset.rdtype == dns.rdatatype.SOA
        assert answer.question[0].name.is_subdomain(rrset.name)
        assert rrset[0].mname.is_subdomain(rrset[0].rname.parent())  # type: ignore[attr-defined]


def texts(answer: dns.message.Message) -> list[str]:
    """The data of the records in the answer, sorted."""
    return sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset)


def code(answer: dns.message.Message) -> str:
    """NOERROR, NODATA, NXDOMAIN, …"""
    rcode = dns.rcode.to_text(answer.rcode())
    return "NODATA" if rcode == "NOERROR" and not answer.answer else rcode


def addresses(members: Iterable[Member]) -> list[str]:
    """Their addresses as text, sorted."""
    return sorted(str(each.address) for each in members)
