"""Netlink: attributes, messages, and one exchange of them with the kernel.

Only what the kernel plane needs of rtnetlink and generic netlink. Encoding and
decoding are pure functions; `Connection` alone talks to the kernel. Layouts are those
of linux/netlink.h; integers are in the machine's byte order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ROUTE, GENERIC = 0, 16

REQUEST, ACK, DUMP = 0x001, 0x004, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
DUMP_INTERRUPTED, ACK_CAPPED, ACK_ATTRIBUTES = 0x010, 0x100, 0x200

NESTED = 0x8000
MAX_ATTRIBUTE = 0xFFFF

_ERROR, _DONE = 2, 3
_TYPE_MASK = 0x3FFF
_ERROR_TEXT = 1
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_CODE = struct.Struct("=i")
_RECEIVE_SIZE = 1 << 16
# More acknowledgements than these might not fit the receive buffer, and the kernel drops what does not.
_UNACKNOWLEDGED = 64
_DUMP_ATTEMPTS = 5


class NetlinkError(OSError):
    """The kernel refused a request: errno, and its own words where it gave any."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an answer: type, flags, sequence number and what follows the header."""

    kind: int
    flags: int
    sequence: int
    payload: memoryview


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes. ValueError if it is longer than its length field can say."""
    length = _ATTRIBUTE.size + len(payload)
    if length > MAX_ATTRIBUTE:
        raise ValueError(f"netlink attribute {kind & _TYPE_MASK} of {length} bytes; {MAX_ATTRIBUTE} is the most")
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attributes(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(kind without flag bits, payload) of each attribute in `data`. ValueError if one overruns it."""
    offset, end = 0, len(data)
    while end - offset >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not _ATTRIBUTE.size <= length <= end - offset:
            raise ValueError(f"netlink attribute {kind & _TYPE_MASK} of {length} bytes in {end - offset}")
        yield kind & _TYPE_MASK, data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message with its header; the kernel fills in who sent it."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. ValueError if one overruns it."""
    view, offset = memoryview(data), 0
    while len(view) - offset >= _HEADER.size:
        length, kind, flags, sequence, _sender = _HEADER.unpack_from(view, offset)
        if not _HEADER.size <= length <= len(view) - offset:
            raise ValueError(f"netlink message {kind} of {length} bytes in {len(view) - offset}")
        yield Message(kind, flags, sequence, view[offset + _HEADER.size : offset + length])
        offset += length + 3 & ~3


def error_of(answer: Message) -> NetlinkError | None:
    """The error that an acknowledgement or the end of a dump carries, None for success."""
    (code,) = _CODE.unpack_from(answer.payload)
    if code == 0:
        return None
    text = os.strerror(-code)
    if answer.flags & ACK_ATTRIBUTES and (answer.kind == _DONE or answer.flags & ACK_CAPPED):
        # After the code: for an acknowledgement the header of the request, then attributes.
        start = _CODE.size + (_HEADER.size if answer.kind == _ERROR else 0)
        said = dict(attributes(answer.payload[start:])).get(_ERROR_TEXT)
        if said:
            text = f"{text}: {bytes(said).rstrip(bytes(1)).decode(errors='replace')}"
    return NetlinkError(-code, text)


@contextmanager
def connection(protocol: int, timeout: float = 10.0) -> Iterator[Connection]:
    """A connection to the kernel for one protocol, in the network namespace of this thread.

    No call waits longer than `timeout` seconds for one answer (NetlinkError ETIMEDOUT).
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as kernel:
        kernel.bind((0, 0))
        kernel.settimeout(timeout)
        # Errors in words, and acknowledgements that do not repeat the request.
        kernel.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        kernel.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        yield Connection(kernel)


class Connection:
    """Exchanges of requests and answers over a netlink socket; for one thread."""

    def __init__(self, kernel: socket.socket) -> None:
        self._socket = kernel
        # The kernel refuses a datagram that is longer than the send buffer, less a little.
        self._batch = kernel.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 1024
        self._sequence = 0

    def request(self, kind: int, payloads: Iterable[bytes], flags: int = 0) -> None:
        """Have the kernel carry out one request for each payload, in order, many in one send.

        Raises the first NetlinkError; requests sent together with the refused one are carried out.
        """
        for refusals in self._exchange(kind, payloads, flags):
            if refused := next(filter(None, refusals), None):
                raise refused

    def attempt(self, kind: int, payloads: Iterable[bytes], flags: int = 0) -> list[NetlinkError | None]:
        """Like `request`, but a refusal stops nothing: what became of each payload, None for success."""
        return [refusal for refusals in self._exchange(kind, payloads, flags) for refusal in refusals]

    def _exchange(self, kind: int, payloads: Iterable[bytes], flags: int) -> Iterator[list[NetlinkError | None]]:
        """Send the requests batch by batch; what became of each of a batch."""
        requests = (message(kind, REQUEST | ACK | flags, self._next(), payload) for payload in payloads)
        for batch in batches(requests, self._batch, _UNACKNOWLEDGED):
            self._send(batch)
            sequences = [sequence_of(request) for request in batch]
            refused = self._acknowledgements(set(sequences))
            yield [refused.get(sequence) for sequence in sequences]

    def query(self, kind: int, payload: bytes) -> list[Message]:
        """The answer to a request that is no dump. NetlinkError if it is refused."""
        self._send([message(kind, REQUEST | ACK, self._next(), payload)])
        return self._answers()

    def dump(self, kind: int, payload: bytes) -> list[Message]:
        """All messages of a dump; asked again when a change came between them. NetlinkError if refused."""
        for _attempt in range(_DUMP_ATTEMPTS):
            self._send([message(kind, REQUEST | DUMP, self._next(), payload)])
            answers = self._answers()
            if not any(answer.flags & DUMP_INTERRUPTED for answer in answers):
                return answers
        raise NetlinkError(errno.EAGAIN, f"it changed during each of {_DUMP_ATTEMPTS} dumps")

    def _answers(self) -> list[Message]:
        """What the kernel sends for the last request, up to and with its acknowledgement or the end of its dump."""
        answers: list[Message] = []
        while True:
            for answer in self._receive():
                if answer.sequence != self._sequence:
                    continue
                if answer.kind in (_ERROR, _DONE) and (error := error_of(answer)):
                    raise error
                answers.append(answer)
                if answer.kind in (_ERROR, _DONE):
                    return answers

    def _acknowledgements(self, missing: set[int]) -> dict[int, NetlinkError]:
        """Wait for these sequence numbers' acknowledgements; the refusals among them."""
        failures: dict[int, NetlinkError] = {}
        while missing:
            for answer in self._receive():
                if answer.kind != _ERROR or answer.sequence not in missing:
                    continue
                missing.remove(answer.sequence)
                if error := error_of(answer):
                    failures[answer.sequence] = error
        return failures

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def _send(self, parts: list[bytes]) -> None:
        try:
            self._socket.sendmsg(parts)
        except TimeoutError as error:
            raise NetlinkError(errno.ETIMEDOUT, "the kernel took no request in time") from error
        except OSError as error:
            raise NetlinkError(error.errno, f"sending to the kernel: {error.strerror}") from error

    def _receive(self) -> list[Message]:
        """The messages of one datagram from the kernel."""
        try:
            data, _ancillary, flags, (sender, _groups) = self._socket.recvmsg(_RECEIVE_SIZE)
        except TimeoutError as error:
            raise NetlinkError(errno.ETIMEDOUT, "the kernel did not answer in time") from error
        except OSError as error:
            # ENOBUFS: an answer was lost, so what became of the request is not known.
            raise NetlinkError(error.errno, f"receiving from the kernel: {error.strerror}") from error
        if flags & socket.MSG_TRUNC:
            raise NetlinkError(errno.EMSGSIZE, f"an answer of the kernel is longer than {_RECEIVE_SIZE} bytes")
        return list(messages(data)) if sender == 0 else []


def sequence_of(request: bytes) -> int:
    """The sequence number in a message's header."""
    return int(_HEADER.unpack_from(request)[3])


def batches(items: Iterable[bytes], limit: int, count: int = sys.maxsize) -> Iterator[list[bytes]]:
    """Consecutive items together while they are at most `limit` bytes and `count`; a longer one alone."""
    batch: list[bytes] = []
    size = 0
    for item in items:
        if batch and (size + len(item) > limit or len(batch) == count):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield batch
