"""What happened lately, for readers who follow: a bounded log, of which each reader has a place of its own."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from itertools import islice

from smegmesh.control.types import Event

_KEPT = 1024


class EventLog:
    """The last events. Nobody who reads slowly holds up who writes, or costs memory."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._run = secrets.token_hex(4)  # events of another run of the agent have other ids
        self._events: deque[Event] = deque(maxlen=kept)
        self._written = 0  # of this run, those that are not kept any more included
        self._closed = False
        self._news = asyncio.Event()

    def add(self, event: Event) -> None:
        """Something happened."""
        self._events.append(event)
        self._written += 1
        self._wake()

    def close(self) -> None:
        """Nothing will happen any more: readers come to their end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def place(self, last: str | None) -> int | None:
        """Where a reader goes on whose last event had this id; None if what came after it is not kept.

        Who has read nothing begins with what happens from now on.
        """
        if last is None:
            return self._written
        run, _dash, number = last.partition("-")
        if run != self._run or not (number.isascii() and number.isdigit() and len(number) < 20):
            return None
        place = int(number)
        return place if self._written - len(self._events) <= place <= self._written else None

    async def read(self, place: int | None, pause: float) -> AsyncIterator[tuple[str, Event | None]]:
        """Events with their ids from a place on, for ever; None where nothing happened for `pause` seconds.

        Begins with `missed` if there is no such place, and ends when a reader is so slow that there is none any more.
        """
        if place is None:
            place = self._written
            yield self._id(place), Event(kind="missed", time=time.time())
        while not self._closed:
            oldest = self._written - len(self._events)
            if place < oldest:
                return
            news = self._news
            event = next(islice(self._events, place - oldest, None), None)
            if event is not None:
                place += 1
                yield self._id(place), event
                continue
            try:
                await asyncio.wait_for(news.wait(), pause)
            except asyncio.TimeoutError:
                yield self._id(place), None

    def _id(self, place: int) -> str:
        return f"{self._run}-{place}"
