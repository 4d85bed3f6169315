"""Does a host answer through the tunnel? ICMPv6 echoes to each target, at once and then in rounds."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Container, Iterable
from ipaddress import IPv6Address

from smegmesh.dataplane.plane import PlaneError

_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ICMP6_FILTER = 1  # linux/icmpv6.h
_HEADER = struct.Struct("!BBHHH")

TIMEOUT = 1.0  # seconds after which an echo is missed

Target = tuple[bytes, IPv6Address]


def encode_echo(identifier: int, sequence: int) -> bytes:
    """An echo request (RFC 4443, 4.1); the kernel fills in the checksum."""
    return _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, sequence)


def decode_reply(packet: bytes, identifier: int) -> int | None:
    """The sequence number of a reply to an echo of ours, None if it is something else."""
    if len(packet) < _HEADER.size:
        return None
    kind, _code, _checksum, held, sequence = _HEADER.unpack_from(packet)
    return sequence if kind == _ECHO_REPLY and held == identifier else None


class Prober:
    """Probes the watched targets through one interface, without one by the way of packets with this mark; needs
    CAP_NET_RAW.

    `callback(key, answered, sent)` comes once for each echo: at once when it is answered, or when
    the timeout (seconds) has passed without an answer. `sent` is when it was, by the event loop's clock.
    """

    def __init__(
        self,
        device: str | None,
        callback: Callable[[bytes, bool, float], None],
        timeout: float = TIMEOUT,
        mark: int = 0,
    ) -> None:
        self._device = device
        self._mark = mark
        self._callback = callback
        self._timeout = timeout
        self._pause = 0.0
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sequence = 0
        self._targets: frozenset[Target] = frozenset()
        self._waiting: dict[int, tuple[Target, float, asyncio.TimerHandle]] = {}
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, targets: Iterable[Target], pause: float) -> None:
        """Probe exactly these (node key, address) from now on, each at once and all every `pause` seconds.

        None stops it. Call it in the event loop. PlaneError if this process may not probe.
        """
        before, self._targets = self._targets, frozenset(targets)
        waiting = self._waiting.items()
        for sequence in [number for number, (target, _sent, _expiry) in waiting if target not in self._targets]:
            self._forget(sequence)
        if not self._targets:
            self.close()
            return
        try:
            self._ping(self._targets - before)
        except PlaneError:
            self.close()
            raise
        if self._timer is None or pause != self._pause:
            self._pause = pause
            self._next_round()

    def ping(self, keys: Container[bytes]) -> None:
        """Probe those of these node keys that are watched at once, too. PlaneError as `watch`."""
        self._ping([target for target in self._targets if target[0] in keys])

    def close(self) -> None:
        """Stop; no callback comes after this."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sequence in list(self._waiting):
            self._forget(sequence)
        self._targets = frozenset()
        self._drop_socket()

    def _next_round(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._pause, self._round)

    def _round(self) -> None:
        self._next_round()
        self._ping(self._targets)

    def _ping(self, targets: Iterable[Target]) -> None:
        for target in targets:
            self._sequence = (self._sequence + 1) % (1 << 16)
            self._forget(self._sequence)
            loop = asyncio.get_running_loop()
            expiry = loop.call_later(self._timeout, self._expire, self._sequence)
            self._waiting[self._sequence] = target, loop.time(), expiry
            self._send(self._sequence, target[1])

    def _expire(self, sequence: int) -> None:
        target, sent, _expiry = self._waiting.pop(sequence)
        self._callback(target[0], False, sent)

    def _send(self, sequence: int, address: IPv6Address) -> None:
        """Send an echo. One that cannot leave is one that stays unanswered; the interface may come again."""
        try:
            if self._socket is None:
                self._socket = self._open()
            self._socket.sendto(encode_echo(self._identifier, sequence), (str(address), 0))
        except BlockingIOError:
            pass
        except OSError:
            self._drop_socket()

    def _open(self) -> socket.socket:
        try:
            opened = socket.socket(
                socket.AF_INET6,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                socket.IPPROTO_ICMPV6,
            )
        except PermissionError as error:
            way = f" through {self._device}" if self._device else ""
            raise PlaneError(f"cannot probe{way}: the agent needs CAP_NET_RAW") from error
        try:
            if self._device:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._device.encode())
            if self._mark:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
            opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _only(_ECHO_REPLY))
        except OSError:
            opened.close()
            raise
        asyncio.get_running_loop().add_reader(opened, self._receive)
        return opened

    def _receive(self) -> None:
        while self._socket is not None:
            try:
                packet, source = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                self._drop_socket()
                return
            self._answered(packet, IPv6Address(source[0].partition("%")[0]))

    def _answered(self, packet: bytes, source: IPv6Address) -> None:
        sequence = decode_reply(packet, self._identifier)
        if sequence is None or sequence not in self._waiting:
            return
        (key, address), sent, _expiry = self._waiting[sequence]
        if address == source:
            self._forget(sequence)
            self._callback(key, True, sent)

    def _forget(self, sequence: int) -> None:
        if sequence in self._waiting:
            self._waiting.pop(sequence)[2].cancel()

    def _drop_socket(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None


def _only(kind: int) -> bytes:
    """An ICMPv6 filter that lets one type pass (RFC 3542, 3.2: a set bit blocks)."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
    return struct.pack("=8I", *words)
