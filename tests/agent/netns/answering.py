"""Servers that say whom they see, and clients that note when they are answered: run with `python3` inside a host.

    answering.py serve ADDRESS...           UDP: the address of whoever asks; TCP: an echo
    answering.py ask ADDRESS                one question; prints whom the server sees, nothing without an answer
    answering.py flows ADDRESS PAUSE        a question from a new socket every PAUSE seconds, until the input ends,
                                            and a last one; says `started` when one was answered, or twenty were not
    answering.py stream ADDRESS             numbered lines over one connection, until the input ends

Nothing but the standard library: a start takes little. Times are monotonic seconds, which all hosts of a lab share.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

PORT = 4242
_PATIENCE = 1.0  # seconds after which a question counts as unanswered
_PAUSE = 0.02  # seconds between two lines of a stream
_TOTAL_RETRANSMITTED = 100  # offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)


def serve(addresses: list[str]) -> None:
    """Answer on each of these until killed; says `ready` first."""
    for address in addresses:
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        datagrams.bind((address, PORT))
        listener = socket.create_server((address, PORT), family=socket.AF_INET6, backlog=100)
        threading.Thread(target=_answer, args=(datagrams,), daemon=True).start()
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def ask(address: str) -> None:
    """One question."""
    with _question(address) as asking:
        try:
            print(asking.recv(99).decode())
        except TimeoutError:
            return


def flows(address: str, pause: float) -> None:
    """Prints a list of (when it began, whom the server saw or null) of each, in that order."""
    asked = Questions(address)
    while not any(seen for _when, seen in asked.told) and len(asked.told) < 20:
        asked.ask()
        asked.collect(pause)
    due = time.monotonic()
    print("started", flush=True)
    while not _ended(max(due - time.monotonic(), 0)):
        due += pause
        asked.ask()
        asked.collect(0)
    asked.ask()
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        asked.collect(0.05)
    print(json.dumps(asked.told))


class Questions:
    """Questions to an address, each from a socket of its own. `told`: when each began, and whom the server saw."""

    def __init__(self, address: str) -> None:
        self.told: list[tuple[float, str | None]] = []
        self._address = address
        self._open: dict[int, tuple[int, socket.socket]] = {}  # by descriptor: which question, its socket
        self._poll = select.epoll()

    def ask(self) -> None:
        """One more."""
        now = time.monotonic()
        asking = _question(self._address)
        self._open[asking.fileno()] = len(self.told), asking
        self._poll.register(asking, select.EPOLLIN)
        self.told.append((now, None))
        for descriptor, (number, _asking) in list(self._open.items()):
            if self.told[number][0] < now - _PATIENCE:
                self._close(descriptor)

    def collect(self, timeout: float) -> None:
        """Note the answers that are there, or come within the timeout."""
        for descriptor, _event in self._poll.poll(timeout):
            number, asking = self._open[descriptor]
            with suppress(OSError):  # a router says that there is no way
                self.told[number] = self.told[number][0], asking.recv(99).decode()
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        _number, asking = self._open.pop(descriptor)
        self._poll.unregister(asking)
        asking.close()


def stream(address: str) -> None:
    """Prints how many lines were sent and echoed, the longest wait for one, and how often TCP had to say it again."""
    connection = socket.create_connection((address, PORT), 5)
    connection.settimeout(20)
    echo = connection.makefile("rb")
    sent, longest = 0, 0.0
    print("connected", flush=True)
    while not _ended(_PAUSE):
        began = time.monotonic()
        connection.sendall(b"%d\n" % sent)
        assert echo.readline() == b"%d\n" % sent
        longest = max(longest, time.monotonic() - began)
        sent += 1
    (again,) = struct.unpack_from(
        "=I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256), _TOTAL_RETRANSMITTED
    )
    print(json.dumps({"sent": sent, "longest": longest, "retransmitted": again}))


def _answer(datagrams: socket.socket) -> None:
    while True:
        _data, whom = datagrams.recvfrom(99)
        datagrams.sendto(whom[0].encode(), whom)


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _whom = listener.accept()
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def _question(address: str) -> socket.socket:
    asking = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    asking.settimeout(_PATIENCE)
    with suppress(OSError):  # no way there: unanswered
        asking.sendto(b"who", (address, PORT))
    return asking


def _ended(pause: float) -> bool:
    """Wait; whether the input ended meanwhile."""
    readable, _, _ = select.select([sys.stdin], [], [], pause)
    return bool(readable)


if __name__ == "__main__":
    verb, *given = sys.argv[1:]
    if verb == "serve":
        serve(given)
    elif verb == "ask":
        ask(given[0])
    elif verb == "flows":
        flows(given[0], float(given[1]))
    else:
        stream(given[0])
