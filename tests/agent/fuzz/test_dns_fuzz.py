"""Questions, mutated: each gets an answer that dnspython can read, or none; nothing raises.

What dnspython takes for a question is one here too. Seeded and bounded: FUZZ_SECONDS (10), FUZZ_SEED (1) to begin with.
"""

from __future__ import annotations

import os
import random
import time

import dns.exception
import dns.message
import dns.opcode
import dns.rcode
import pytest
from mutations import flip, noise, repeat, truncate

from named import member, server, view

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
NAMES = server(view(member("a1", "web", {"https": "tcp/443", "dns": "udp/53 x=1"}), member("b2.example.org")))
ADDRESS = member("a1").address.reverse_pointer
QUESTIONS = [
    dns.message.make_query(name, rrtype, id=4711, **edns).to_wire()  # type: ignore[arg-type]
    for name, rrtype in (
        ("a1.prod.smeg", "AAAA"),
        ("prod.smeg", "SOA"),
        ("_https._tcp.web.prod.smeg", "SRV"),
        ("_dns._udp.prod.smeg", "TXT"),
        (ADDRESS, "PTR"),
        (".", "NS"),
    )
    for edns in ({"use_edns": False}, {"use_edns": 0, "payload": 1232}, {"use_edns": 0, "pad": 128})
]


def swap(data: bytes, rng: random.Random) -> bytes:
    """A number where lengths, counts, pointers and types are."""
    at = rng.randrange(len(data) + 1)
    size = rng.choice((1, 2))
    return data[:at] + rng.choice((b"\0", b"\xff", b"\xc0", b"\x3f", b"\x40", b"\x29")) * size + data[at + size :]


MUTATIONS = (truncate, flip, swap, swap, repeat, noise)


def fault(data: bytes) -> str | None:
    """What is wrong with the answer to a message."""
    answer = NAMES.answer(data, tcp=bool(len(data) % 2))
    if len(data) < 12 or data[2] & 0x80:
        return None if answer is None else "something that is no query was answered"
    if answer is None:
        return "no answer"
    read = dns.message.from_wire(answer)
    if read.id != int.from_bytes(data[:2], "big"):
        return "an answer to another question"
    if read.rcode() != dns.rcode.FORMERR or (data[2] >> 3) & 15:
        return None
    try:
        asked = dns.message.from_wire(data, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError):
        return None
    plain = asked.opcode() == dns.opcode.QUERY and len(asked.question) == 1 and not asked.answer
    # dnspython takes a question as any resolver may send it, but also names that point back into the header.
    return "a good question was taken for a bad one" if plain and asked.to_wire() == data else None


@pytest.mark.timeout(SECONDS + 60)
def test_no_question_is_too_strange() -> None:
    end, seed = time.monotonic() + SECONDS, SEED
    while time.monotonic() < end:
        rng = random.Random(seed)
        data = rng.choice(QUESTIONS)
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = rng.choice(MUTATIONS)(data, rng)[:65535]
        try:
            wrong = fault(data)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data.hex()}") from error
        assert wrong is None, f"seed {seed}: {wrong}: {data.hex()}"
        seed += 1
    assert seed > SEED + 100, "too slow to prove anything"
