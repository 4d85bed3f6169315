"""A simulated network: hosts, TCP-like links, and faults, under a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random

_HANDSHAKE = 4  # one-way trips until a TLS link stands on both sides
_RETRANSMIT = 0.2  # seconds that a lost segment costs
_UNANSWERED = 3.0  # seconds until a dial to a host that is not there fails


class Clock:
    """Virtual time: calls in order of time, then of scheduling."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call at a time, at once if that has passed."""
        heappush(self._calls, (max(time, self.now), next(self._order), call))

    def run_until(self, time: float) -> None:
        """Let time pass."""
        while self._calls and self._calls[0][0] <= time:
            self.now, _order, call = heappop(self._calls)
            call()
        self.now = max(self.now, time)


@dataclass(slots=True)
class End:
    """One side of a link."""

    host: str
    number: int
    alive: bool = True  # the process still has it
    arrival: float = 0.0  # of the last frame towards this side
    held: list[Callable[[], None]] = field(default_factory=list)  # towards this side, cut off by a partition


class Network:
    """Delivers in order on each link, after latency; loss is delay, as with TCP. A cut holds frames back."""

    def __init__(self, clock: Clock, random: Random, latency: tuple[float, float], loss: float) -> None:
        self._clock = clock
        self._random = random
        self._latency = latency
        self.loss = loss
        self._numbers = count(1)
        self._cut: set[tuple[str, str]] = set()
        self._links: list[tuple[End, End]] = []
        self._by_end: dict[tuple[str, int], tuple[End, End]] = {}
        self.up: set[str] = set()
        self.listening: set[str] = set()

    def cut(self, source: str, target: str) -> None:
        """Nothing gets from one host to another any more."""
        self._cut.add((source, target))

    def mend(self) -> None:
        """All hosts reach each other; what was held back arrives after a retransmission."""
        self._cut.clear()
        for pair in self._links:
            for end in pair:
                held, end.held = end.held, []
                for call in held:
                    self._clock.at(self._clock.now + _RETRANSMIT, call)

    def reaches(self, source: str, target: str) -> bool:
        """Whether packets get from one host to another."""
        return source in self.up and target in self.up and (source, target) not in self._cut

    def both_ways(self, one: str, other: str) -> bool:
        """Whether the hosts can talk."""
        return self.reaches(one, other) and self.reaches(other, one)

    def trip(self) -> float:
        """Seconds that a packet takes now."""
        time = self._random.uniform(*self._latency)
        while self.loss and self._random.random() < self.loss:
            time += _RETRANSMIT
        return time

    def connect(
        self, source: str, target: str | None, on_up: Callable[[End, End], None], on_fail: Callable[[], None]
    ) -> None:
        """Dial from one host to another."""
        if target is None or not self.both_ways(source, target):
            self._clock.at(self._clock.now + _UNANSWERED, on_fail)
        elif target not in self.listening:
            self._clock.at(self._clock.now + self.trip() + self.trip(), on_fail)
        else:
            done = self._clock.now + sum(self.trip() for _message in range(_HANDSHAKE))
            self._clock.at(done, lambda: self._established(source, target, on_up, on_fail))

    def send(self, host: str, number: int, deliver: Callable[[End], None]) -> None:
        """Bring something to the other end of a link, in order."""
        pair = self._by_end.get((host, number))
        if pair is None:
            return
        near, far = pair if pair[0].host == host and pair[0].number == number else (pair[1], pair[0])
        if not near.alive:
            return

        def arrive() -> None:
            if (near.host, far.host) in self._cut:
                far.held.append(arrive)
            elif far.host in self.up and far.alive:
                deliver(far)

        far.arrival = max(far.arrival, self._clock.now + self.trip())
        self._clock.at(far.arrival, arrive)

    def close(self, host: str, number: int, on_down: Callable[[End], None]) -> None:
        """One side ends a link; the other hears of it if it can."""
        self.send(host, number, lambda far: self._ended(far, on_down))
        pair = self._by_end.get((host, number))
        if pair is not None:
            for end in pair:
                if end.host == host and end.number == number:
                    end.alive = False

    def links_of(self, host: str) -> list[int]:
        """The links that the process on a host holds."""
        return [end.number for pair in self._links for end in pair if end.host == host and end.alive]

    def crash(self, host: str, on_down: Callable[[End], None]) -> None:
        """The process on a host is gone; its kernel says so on its links, if the host is up."""
        for number in self.links_of(host):
            if host in self.up:
                self.close(host, number, on_down)
            else:
                self._silently(host, number)
        self.listening.discard(host)

    def reset(self, host: str, on_down: Callable[[End], None]) -> None:
        """A host is up again: whoever still holds a link from before is told so."""
        for pair in self._links:
            for near, far in (pair, pair[::-1]):
                if near.host == host and not near.alive and far.alive:
                    self._clock.at(self._clock.now + self.trip(), partial(self._ended, far, on_down))
        self._links = [pair for pair in self._links if pair[0].alive or pair[1].alive]

    def _established(
        self, source: str, target: str, on_up: Callable[[End, End], None], on_fail: Callable[[], None]
    ) -> None:
        if source not in self.listening or target not in self.listening or not self.both_ways(source, target):
            on_fail()
            return
        pair = End(source, next(self._numbers)), End(target, next(self._numbers))
        self._links = [old for old in self._links if old[0].alive or old[1].alive]
        self._links.append(pair)
        for end in pair:
            self._by_end[end.host, end.number] = pair
        on_up(*pair)

    def _ended(self, end: End, on_down: Callable[[End], None]) -> None:
        if end.alive:
            end.alive = False
            on_down(end)

    def _silently(self, host: str, number: int) -> None:
        for end in self._by_end[host, number]:
            if end.host == host:
                end.alive = False
