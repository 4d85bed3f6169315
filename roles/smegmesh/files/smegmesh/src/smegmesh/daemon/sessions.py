"""When to begin a new WireGuard session with a peer whose tunnel stays silent.

A host that came back may have lost the session we hold; WireGuard itself notices
only after 15 s of unanswered packets (whitepaper, section 6.5). To begin anew is to
forget our half: from then on the other one sends into the void, until our next packet
makes a handshake. So it is done when the other host is heard on a link while its tunnel is silent, not before:
one that was cut off goes on with the session it has, and a handshake that it never
saw is made again after 5 s only. Who was silent is probed until it answers, watched or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from smegmesh.dataplane.plane import DeviceState

_MISSES = 3
_PAUSE = 10.0  # seconds from one new session with a peer to the next
_EXPIRY = 180.0  # seconds after which either side has dropped a session (Reject-After-Time, section 6.1)


@dataclass(slots=True)
class _Row:
    """Probes missed one after the other, and whether an outage of all between the two hosts explains them.

    It does not if something was heard after one was sent and before another was. The first does not say so: it may
    have been on its way when the outage began.
    """

    missed: int = 0
    second: float = 0.0  # when the second of them was sent
    talked: float | None = None  # when something was heard after that

    def miss(self, sent: float, heard: float | None) -> bool:
        """Another one; whether it is the tunnel alone that is silent."""
        self.missed += 1
        if self.missed < _MISSES - 1:
            return False
        if self.missed == _MISSES - 1:
            self.second = sent
        if self.talked is None and heard is not None and heard > self.second:
            self.talked = heard
        return self.missed >= _MISSES and self.talked is not None and sent > self.talked


class SilentSessions:
    """Counts probes without an answer, by node key; times are seconds of one clock."""

    def __init__(self) -> None:
        self._rows: dict[bytes, _Row] = {}
        self._silent: dict[bytes, float] = {}  # when the last of so many misses came while it was watched
        self._begun: dict[bytes, float] = {}  # when a new session was
        self._watched: frozenset[bytes] = frozenset()

    def watch(self, keys: Collection[bytes], now: float) -> None:
        """These are watched from now on: what is counted of others means nothing, unless it is pending."""
        self._watched = frozenset(keys)
        kept = {*keys, *self.pending(now)}
        for counted in (self._rows, self._silent):
            for key in counted.keys() - kept:
                del counted[key]
        self._begun = {key: when for key, when in self._begun.items() if now - when < _PAUSE}

    def pending(self, now: float) -> frozenset[bytes]:
        """Who was silent through the tunnel, and has not answered since."""
        return frozenset(key for key, when in self._silent.items() if now < when + _EXPIRY)

    def begun(self, keys: Iterable[bytes], now: float) -> None:
        """New sessions are begun with these anyway. That takes 5 s more if a handshake is lost; what is held back for
        it would be lost as well if it were begun once more."""
        self._begun.update(dict.fromkeys(keys, now))

    def answered(self, key: bytes) -> None:
        """Its tunnel is well."""
        for counted in (self._rows, self._silent, self._begun):
            counted.pop(key, None)

    def missed(self, key: bytes, sent: float, heard: float | None, now: float) -> bool:
        """Note a probe that was not answered; True when the session should be renewed now.

        `sent`: when it was; `heard`: the last frame on a link with that node.
        """
        row = self._rows.setdefault(key, _Row())
        alone = row.miss(sent, heard)
        if row.missed >= _MISSES and key in self._watched:
            self._silent[key] = now
        if not alone:
            return False
        del self._rows[key]
        if now - self._begun.get(key, float("-inf")) < _PAUSE:
            return False
        self._begun[key] = now
        return True


def in_session(device: DeviceState | None, now: float) -> frozenset[bytes]:
    """The tunnel keys with which WireGuard has a session; `now` is seconds since the epoch."""
    peers = device.peers.items() if device is not None else ()
    return frozenset(key for key, peer in peers if peer.handshake is not None and peer.handshake > now - _EXPIRY)
