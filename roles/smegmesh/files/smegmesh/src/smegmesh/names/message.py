"""DNS messages (RFC 1035, 6891): a query read, an answer written. As much of them as an authoritative server needs.

Names are wire bytes in lower case, labels with their lengths and the root at the end. Whatever the bytes, reading
raises nothing but `MessageError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

UDP_SIZE = 1232  # bytes that pass any path unfragmented (DNS flag day 2020)
PLAIN_SIZE = 512  # without EDNS
TCP_SIZE = 65535
IN = 1
MAX_LABEL = 63
MAX_NAME = 255
_HEADER = struct.Struct(">HHHHHH")
_PAIR = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")  # type, class, TTL, length
_QR, _AA, _TC, _RD, _CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010
_DO = 0x8000  # in the flags of EDNS
_POINTER = 0xC0
_QUESTION_NAME = b"\xc0\x0c"
_QUESTION_AT = _HEADER.size


class Type(IntEnum):
    """Types of records that are told apart here."""

    NS = 2
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    """How a query ended."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


class MessageError(ValueError):
    """A query that cannot be read, with the code to answer."""

    def __init__(self, rcode: Rcode) -> None:
        super().__init__(rcode.name)
        self.rcode = rcode


class Edns(NamedTuple):
    """What a client says of itself: the size that it takes by UDP, its version of EDNS, and whether it wants DNSSEC."""

    size: int
    version: int
    dnssec_ok: bool


class Query(NamedTuple):
    """One question. `question` is its wire bytes as they came, `labels` where in `name` each label begins."""

    number: int
    flags: int
    question: bytes
    name: bytes
    labels: Sequence[int]
    type: int
    rrclass: int
    edns: Edns | None


class Record(NamedTuple):
    """A record of an answer. Its owner is that of the question where `owner` is None."""

    type: int
    data: bytes
    owner: bytes | None = None


Records = Mapping[int, Sequence[bytes]]  # what a name has: the data of its records, by type


def character_string(text: str) -> bytes:
    """Text of at most 255 bytes, with its length before it."""
    data = text.encode()
    return bytes([len(data)]) + data


def wire_label(text: str) -> bytes:
    """A label, with its length before it; ValueError if it is empty or too long."""
    if not 1 <= len(text) <= MAX_LABEL:
        raise ValueError(f"{text!r} is no label of a DNS name: that has 1 to {MAX_LABEL} characters")
    return bytes([len(text)]) + text.encode("ascii")


def wire_name(text: str) -> bytes:
    """A name from its text, in lower case and without a dot at its end; ValueError as above."""
    return b"".join(map(wire_label, text.split("."))) + b"\0"


def text_name(name: bytes) -> str:
    """The text of a name that `wire_name` made."""
    labels = []
    while length := name[0]:
        labels.append(name[1 : 1 + length].decode("ascii"))
        name = name[1 + length :]
    return ".".join(labels)


def is_query(data: bytes) -> bool:
    """Whether it is worth an answer: answers are never answered, lest two servers keep each other busy."""
    return len(data) >= _HEADER.size and not data[2] & 0x80


def read_query(data: bytes) -> Query:
    """Read what `is_query`; MessageError."""
    try:
        return _read_query(data)
    except (struct.error, IndexError):  # it ends too early
        raise MessageError(Rcode.FORMERR) from None


def _read_query(data: bytes) -> Query:
    number, flags, questions, answers, authorities, additions = _HEADER.unpack_from(data)
    if flags >> 11 & 15:
        raise MessageError(Rcode.NOTIMP)
    if questions != 1 or answers:
        raise MessageError(Rcode.FORMERR)
    end, labels = _question_name(data)
    rrtype, rrclass = _PAIR.unpack_from(data, end)
    at = end + _PAIR.size
    question = data[_QUESTION_AT:at]
    for _record in range(authorities):
        at, _rrtype, _edns = _skip_record(data, at)
    edns = None
    for _record in range(additions):
        at, added, said = _skip_record(data, at)
        if added == Type.OPT:
            if said is None or edns is not None:
                raise MessageError(Rcode.FORMERR)
            edns = said
    if at != len(data):
        raise MessageError(Rcode.FORMERR)
    # Lengths of labels are no letters, so all of it can be lowered at once.
    return Query(number, flags, question, data[_QUESTION_AT:end].lower(), labels, rrtype, rrclass, edns)


def _question_name(data: bytes) -> tuple[int, list[int]]:
    """Where the name of the question ends, and where in it its labels begin. It cannot point to anything before it."""
    at, labels = _QUESTION_AT, []
    while length := data[at]:
        if length > MAX_LABEL:
            raise MessageError(Rcode.FORMERR)
        labels.append(at - _QUESTION_AT)
        at += 1 + length
    end = at + 1
    if end - _QUESTION_AT > MAX_NAME:
        raise MessageError(Rcode.FORMERR)
    return end, labels


def _skip_record(data: bytes, at: int) -> tuple[int, int, Edns | None]:
    """Where a record ends, its type, and what it says if it is a proper OPT."""
    start = at
    while length := data[at]:
        if length >= _POINTER:
            at += 1
            break
        if length > MAX_LABEL:
            raise MessageError(Rcode.FORMERR)
        at += 1 + length
    at += 1
    rrtype, rrclass, ttl, size = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + size
    if end > len(data):
        raise MessageError(Rcode.FORMERR)
    if rrtype != Type.OPT or data[start] or not _are_options(data[end - size : end]):
        return end, rrtype, None
    return end, rrtype, Edns(rrclass, ttl >> 16 & 255, bool(ttl & _DO))


def _are_options(data: bytes) -> bool:
    at = 0
    while at < len(data):
        _code, size = _PAIR.unpack_from(data, at)
        at += _PAIR.size + size
    return at == len(data)


def write_failure(data: bytes, rcode: Rcode) -> bytes:
    """The answer to what could not be read: a header alone."""
    number, flags = _PAIR.unpack_from(data)
    return _HEADER.pack(number, _QR | flags & (0x7800 | _RD | _CD) | rcode, 0, 0, 0, 0)


def write_answer(
    query: Query,
    rcode: Rcode,
    *,
    limit: int,
    ttl: int,
    authoritative: bool = True,
    answers: Iterable[Record] = (),
    authority: Iterable[Record] = (),
) -> bytes:
    """An answer of at most `limit` bytes.

    What does not fit is left out and said so (TC), but not where TCP is no remedy: no message holds more.
    """
    opt = _opt(query.edns, rcode) if query.edns is not None else b""
    room = limit - _HEADER.size - len(query.question) - len(opt)
    answered, room, whole = _packed(answers, ttl, room)
    authorities, _room, with_authority = _packed(authority, ttl, room)
    truncated = limit < TCP_SIZE and not (whole and with_authority)
    if truncated:
        answered = []  # half a set of records would be taken for the whole (RFC 2181, section 9)
    flags = _QR | query.flags & (_RD | _CD) | (_AA if authoritative else 0) | (_TC if truncated else 0) | rcode & 15
    header = _HEADER.pack(query.number, flags, 1, len(answered), len(authorities), bool(opt))
    return b"".join([header, query.question, *answered, *authorities, opt])


def _packed(records: Iterable[Record], ttl: int, room: int) -> tuple[list[bytes], int, bool]:
    """As many as there is room for, the room that is left, and whether these are all."""
    packed: list[bytes] = []
    for record in records:
        owner = _QUESTION_NAME if record.owner is None else record.owner
        data = owner + _RECORD.pack(record.type, IN, ttl, len(record.data)) + record.data
        if len(data) > room:
            return packed, room, False
        room -= len(data)
        packed.append(data)
    return packed, room, True


def _opt(edns: Edns, rcode: Rcode) -> bytes:
    """Version 0, the high bits of the code, and the DO bit as it came (RFC 3225)."""
    return b"\0" + _RECORD.pack(Type.OPT, UDP_SIZE, rcode >> 4 << 24 | (_DO if edns.dnssec_ok else 0), 0)


def zone_pointer(offset: int) -> bytes:
    """The name that begins so many bytes after that of the question, as an owner."""
    return (_POINTER << 8 | _QUESTION_AT + offset).to_bytes(2, "big")
