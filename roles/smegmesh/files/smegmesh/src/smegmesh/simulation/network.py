"""A simulated network: hosts, TCP-like links, and faults, under a virtual clock.

A message takes a time drawn anew for each: uniform between two bounds, or log-normal
about a median. What is lost is late, as with TCP: by 250 ms, doubling each time. Each
direction of a link carries 100 Mbit/s. A cut holds back what crosses it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from math import exp
from random import Random
from statistics import NormalDist

from smegmesh.simulation.clock import Clock
from smegmesh.simulation.node import End, Node
from smegmesh.simulation.sharing import Parcel

_TRIPS = 5  # one-way, until a TLS link stands on both sides
_RETRANSMIT = 0.25  # seconds that a lost segment costs, doubling
_UNANSWERED = 3.0  # seconds until a dial to a host that is not there fails
_HUNG = 5.0  # seconds until a handshake with a process that stands still is given up
_BANDWIDTH = 100e6 / 8  # bytes per second
_SIGMA = 0.5
_QUANTILES = 4096


Delay = tuple[float, float] | float


class Network:
    """Delivers in order on each link. A message is a frame, or None for the end of the link.

    `delay` is the shortest and the longest trip, or the median of a log-normal one (sigma 0.5). `disorder` is the
    share of frames that come twice or behind the next, as on no TCP link.
    """

    def __init__(
        self, clock: Clock, random: Random, delay: Delay, loss: float, deliver: Callable[[End, Parcel | None], None]
    ) -> None:
        self._clock = clock
        self._random = random.random
        self._delays = _quantiles(delay)
        self.loss = loss
        self.disorder = 0.0
        self._deliver = deliver
        self._numbers = count(1)
        self._cuts: list[tuple[frozenset[str], frozenset[str]]] = []
        self._holding: dict[End, None] = {}

    def cut(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        """Nothing gets from the ones to the others any more."""
        self._cuts.append((frozenset(sources), frozenset(targets)))

    def mend(self) -> None:
        """All hosts reach each other; what was held back arrives after a retransmission."""
        self._cuts.clear()
        holding, self._holding = self._holding, {}
        for end in holding:
            held, end.held = end.held, deque()
            for message in held:
                end.arrival = max(end.arrival, self._clock.now + _RETRANSMIT)
                self._clock.at(end.arrival, self._arrive, end, message)

    def reaches(self, source: Node, target: Node) -> bool:
        """Whether packets get from one host to another."""
        return source.up and target.up and not (self._cuts and self._is_cut(source, target))

    def both_ways(self, one: Node, other: Node) -> bool:
        """Whether the hosts can talk."""
        return self.reaches(one, other) and self.reaches(other, one)

    def trip(self) -> float:
        """Seconds that a message takes now."""
        time = self._delays[int(self._random() * _QUANTILES)]
        if self.loss:
            pause = _RETRANSMIT
            while self._random() < self.loss:
                time += pause
                pause *= 2
        return time

    def echo(self) -> float | None:
        """Seconds that a datagram and its answer take; None if one of them is lost."""
        if self.loss and (self._random() < self.loss or self._random() < self.loss):
            return None
        return self._delays[int(self._random() * _QUANTILES)] + self._delays[int(self._random() * _QUANTILES)]

    def connect(
        self,
        source: Node,
        target: Node | None,
        hangs: Callable[[Node], bool],
        on_up: Callable[[End, End], None],
        on_fail: Callable[[], None],
    ) -> None:
        """Dial from one host to another; no handshake is done with a process that `hangs`."""
        if target is None or not self.both_ways(source, target):
            self._clock.at(self._clock.now + _UNANSWERED, on_fail)
        elif not target.listening:
            self._clock.at(self._clock.now + self.trip() + self.trip(), on_fail)
        elif hangs(target):
            self._clock.at(self._clock.now + _HUNG, on_fail)
        else:
            done = self._clock.now + sum(self.trip() for _trip in range(_TRIPS))
            self._clock.at(done, self._established, source, target, on_up, on_fail)

    def send(self, end: End, message: Parcel | None, size: int, depart: float) -> None:
        """Bring a message of so many bytes to the other side of a link, in order."""
        far = end.far
        if end.free < depart:
            end.free = depart
        end.free += size / _BANDWIDTH
        arrival = end.free + self.trip()
        if far.arrival < arrival:
            far.arrival = arrival
        when = far.arrival
        if self.disorder and message is not None and self._random() < self.disorder:
            when += self.trip()
            if self._random() < 0.5:
                self._clock.at(far.arrival, self._arrive, far, message)
        self._clock.at(when, self._arrive, far, message)

    def close(self, end: End, depart: float) -> None:
        """One side ends a link; the other hears of it if it can."""
        self.send(end, None, 0, depart)
        self.drop(end)

    def drop(self, end: End) -> None:
        """A process has a link no more."""
        end.alive = False
        end.host.ends.pop(end.number, None)

    def crash(self, host: Node) -> None:
        """The process on a host is gone; its kernel says so on its links, if the host is up."""
        for end in list(host.ends.values()):
            if host.up:
                self.close(end, self._clock.now)
            else:
                self.drop(end)
                host.orphans.append(end)
        host.listening = False

    def boot(self, host: Node) -> None:
        """A host is up again: whoever still holds a link from before is told so."""
        host.up = True
        orphans, host.orphans = host.orphans, []
        for end in orphans:
            self._clock.at(self._clock.now + self.trip(), self._arrive, end.far, None)

    def _is_cut(self, source: Node, target: Node) -> bool:
        return any(source.name in sources and target.name in targets for sources, targets in self._cuts)

    def _arrive(self, end: End, message: Parcel | None) -> None:
        if not end.alive or not end.host.up:
            return
        if end.held or (self._cuts and self._is_cut(end.far.host, end.host)):
            end.held.append(message)
            self._holding[end] = None
            return
        self._deliver(end, message)

    def _established(
        self, source: Node, target: Node, on_up: Callable[[End, End], None], on_fail: Callable[[], None]
    ) -> None:
        if not (source.listening and target.listening and self.both_ways(source, target)):
            on_fail()
            return
        near, far = End(source, next(self._numbers)), End(target, next(self._numbers))
        near.far, far.far = far, near
        source.ends[near.number], target.ends[far.number] = near, far
        on_up(near, far)


def _quantiles(delay: Delay) -> list[float]:
    """So many trips that are equally likely."""
    shares = [(number + 0.5) / _QUANTILES for number in range(_QUANTILES)]
    if isinstance(delay, tuple):
        shortest, longest = delay
        return [shortest + share * (longest - shortest) for share in shares]
    normal = NormalDist(0.0, _SIGMA)
    return [delay * exp(normal.inv_cdf(share)) for share in shares]
