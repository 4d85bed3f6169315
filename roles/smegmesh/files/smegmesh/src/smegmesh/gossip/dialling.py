"""Dialling: whom to try next, and when, with exponential backoff and jitter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

Target = bytes | str  # a node key, or a bootstrap address

_FIRST_PAUSE = 0.5
#: A link that lasted so long (seconds) was one; the next dial need not wait.
_LASTING = 5.0
#: What a node says that cannot be dialled is a reason to try once in so many seconds.
_NEWS = 8.0
#: What is not wished for any more is remembered so long, so that its pauses go on.
_MEMORY = 60.0


@dataclass(frozen=True, slots=True)
class Wish:
    """That a target is to be dialled: its addresses, the longest pause, the wait before the first dial (seconds)."""

    addresses: tuple[str, ...]
    longest: float
    first: float = 0.0


@dataclass(slots=True)
class _Attempts:
    due: float
    failures: int = 0
    bounces: int = 0  # links in a row that did not last
    dial: int | None = None
    timeout: float = 0.0
    freshened: float = float("-inf")


class Dialler:
    """Keeps one dial a target under way as long as it is wished for."""

    def __init__(self, random: Random, timeout: float) -> None:
        self._random = random
        self._timeout = timeout
        self._targets: dict[Target, _Attempts] = {}
        self._wishes: Mapping[Target, Wish] = {}
        self._dials: dict[int, Target] = {}
        self._last = 0

    def wish(self, wishes: Mapping[Target, Wish], now: float) -> None:
        """Replace what is wished for."""
        for target in self._targets.keys() - wishes.keys():
            attempts = self._targets[target]
            if attempts.dial is None and now >= attempts.due + _MEMORY:
                del self._targets[target]
        for target, wish in wishes.items():
            known = self._targets.get(target)
            if known is None:
                self._targets[target] = _Attempts(now + wish.first * self._random.uniform(0.5, 1.0))
            else:
                known.due = min(known.due, now + wish.longest)
        self._wishes = wishes

    def due(self, now: float) -> Iterator[tuple[int, Target, tuple[str, ...]]]:
        """Dials to make now: number, target, addresses."""
        for target, wish in self._wishes.items():
            attempts = self._targets[target]
            if attempts.dial is not None and now >= attempts.timeout:
                self.failed(attempts.dial, now)
            if attempts.dial is None and now >= attempts.due:
                self._last += 1
                attempts.dial, attempts.timeout = self._last, now + self._timeout
                self._dials[self._last] = target
                yield self._last, target, wish.addresses

    def failed(self, dial: int, now: float) -> Target | None:
        """A dial failed; returns its target, None if it is long forgotten."""
        target = self._dials.pop(dial, None)
        attempts = None if target is None else self._targets.get(target)
        if target is None or attempts is None or attempts.dial != dial:
            return None
        attempts.failures += 1
        self._pause(target, attempts, now)
        return target

    def succeeded(self, node_key: bytes, dial: int | None, now: float) -> Target | None:
        """A link that this node dialled is up; returns the target that led to it.

        Without the number of the dial it was the one to this node, or else the only
        one to a bootstrap address; None if that does not tell.
        """
        target: Target | None = None if dial is None else self._dials.get(dial)
        if target is None:
            target = node_key if node_key in self._targets else self._only_address()
        for done in (node_key,) if target in (None, node_key) else (target, node_key):
            attempts = self._targets.get(done)
            if attempts is not None:
                self._dials.pop(attempts.dial or 0, None)
                attempts.failures = 0
                attempts.bounces += 1
                self._pause(done, attempts, now)
        return target

    def lost(self, node_key: bytes, lasted: float, now: float) -> None:
        """A link with a node that had said hello is gone: dial it again, at once if it had lasted (seconds)."""
        attempts = self._targets.setdefault(node_key, _Attempts(now))
        if lasted >= _LASTING:
            attempts.due, attempts.failures, attempts.bounces = now, 0, 0

    def fresh(self, node_key: bytes, now: float) -> None:
        """A node said something new, so it is in reach of somebody: whoever could not dial it tries at once.

        After a partition all know within a second that the other side lives; the long pauses would keep them apart.
        Who cannot be dialled and says something new all the time is not dialled all the time.
        """
        attempts = self._targets.get(node_key)
        if attempts is not None and attempts.failures and now >= attempts.freshened + _NEWS:
            attempts.freshened, attempts.failures = now, 1
            attempts.due = min(attempts.due, now)

    def struggles(self, target: Target, patience: float, now: float) -> bool:
        """Whether the last dial of a target failed, or is under way for longer than that."""
        attempts = self._targets.get(target)
        if attempts is None:
            return False
        waiting = attempts.dial is not None and now >= attempts.timeout - self._timeout + patience
        return waiting or attempts.failures > 0

    def next_timer(self) -> float:
        """When `due` may have something next."""
        attempts = map(self._targets.__getitem__, self._wishes)
        return min([each.due if each.dial is None else each.timeout for each in attempts], default=float("inf"))

    def _pause(self, target: Target, attempts: _Attempts, now: float) -> None:
        longest = self._wishes[target].longest if target in self._wishes else _MEMORY
        tries = min(attempts.failures + attempts.bounces, 20)
        attempts.dial = None
        attempts.due = now + min(longest, _FIRST_PAUSE * 2 ** (tries - 1)) * self._random.uniform(0.5, 1.0)

    def _only_address(self) -> str | None:
        addresses = [target for target in self._dials.values() if isinstance(target, str)]
        return addresses[0] if len(addresses) == 1 else None
