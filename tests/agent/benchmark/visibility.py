"""How long it takes until all agents of a group know something."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from group import Disturbed, Group
from processes import eventually

_SETTLE = 60.0  # seconds
_REST = 1.0  # seconds between a settled group and the next round
_WITHIN = 60.0
_ASKERS = 8  # agents asked at a time
_PAUSE = 0.005  # seconds until an agent that does not know yet is asked again


@dataclass
class Times:
    """Seconds of each round: until all others knew it, and until the event streams of all had told it."""

    known: list[float] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)  # how a lost agent was called in the end


def start(group: Group) -> None:
    """One after the other, each when the one before knows all that run: a start all at once is another subject."""
    for number, name in enumerate(group.names, 1):
        group.start(name)
        known = partial(group.alive, name)
        eventually(lambda known=known, number=number: known() == number, _SETTLE, f"{name} knows {number}", 0.05)
    settle(group)


def settle(group: Group) -> None:
    """Wait until all take all for alive and say the same."""
    group.pids()
    count = len(group.names)
    eventually(lambda: all(group.alive(name) == count for name in group.names), _SETTLE, "all know all")
    eventually(group.agrees, _SETTLE, "all say the same")
    time.sleep(_REST)


def changes(group: Group, rounds: int) -> Times:
    """An agent is made to say something new; when do all others know it?"""
    times = Times()
    for name, others in _turns(group, rounds, times):
        since = time.perf_counter()
        group.begin_change(name)
        known = _until_all(others, lambda other, name=name: group.knows_change(other, name), since)
        group.told_change(name)
        told = time.perf_counter() - since
        try:
            group.end_change(name)
        except Disturbed:
            continue
        times.known.append(known)
        times.told.append(told)
    return times


def losses(group: Group, rounds: int) -> Times:
    """An agent is killed; when do all others take it for dead? It is started again after each round."""
    times = Times()
    for name, others in _turns(group, rounds, times):
        since = time.perf_counter()
        group.kill(name)
        known = _until_all(others, group.knows_loss, since)
        group.told_loss(name)
        told = time.perf_counter() - since
        words = Counter(group.judgement(other, name) for other in others)
        group.start(name)
        if "alive" in words:  # somebody took another one for dead
            continue
        times.known.append(known)
        times.told.append(told)
        times.words += words
    settle(group)
    return times


def asking(group: Group) -> float:
    """Seconds that it takes to ask all once, when there is nothing to wait for."""
    settle(group)
    return _until_all(group.names, lambda name: not group.knows_loss(name), time.perf_counter())


def _turns(group: Group, rounds: int, times: Times) -> Iterator[tuple[str, list[str]]]:
    """Whose turn it is in each round, drawn alike in every run, and the others, who are settled. Rounds that did not
    count are repeated; Disturbed if that were too many."""
    for name in random.Random(rounds).choices(group.names, k=2 * rounds):
        if len(times.known) == rounds:
            return
        settle(group)
        yield name, [other for other in group.names if other != name]
    if len(times.known) < rounds:
        raise Disturbed(f"of {2 * rounds} rounds only {len(times.known)} count: is this machine busy?")


def _until_all(agents: Sequence[str], knows: Callable[[str], bool], since: float) -> float:
    """Seconds from `since` until all know it, asked a few at a time, in an order that is drawn."""
    drawn = random.sample(agents, len(agents))
    parts = [drawn[first::_ASKERS] for first in range(_ASKERS)]
    with ThreadPoolExecutor(_ASKERS) as askers:
        for asker in [askers.submit(_until_each, part, knows, since) for part in parts]:
            asker.result()
    return time.perf_counter() - since


def _until_each(agents: Iterable[str], knows: Callable[[str], bool], since: float) -> None:
    """Ask an agent until it knows, then the next: asking takes little from those who are to learn it."""
    for agent in agents:
        while not knows(agent):
            if time.perf_counter() > since + _WITHIN:
                raise TimeoutError(f"{agent} does not know it within {_WITHIN:g} s")
            time.sleep(_PAUSE)
