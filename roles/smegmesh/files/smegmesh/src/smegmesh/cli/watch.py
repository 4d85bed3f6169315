"""`smegctl watch`: what happens in the meshes, as it happens, for as long as somebody reads it."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from smegmesh.cli.output import plain
from smegmesh.control.errors import ControlError, NotPermitted, Refused

Event = dict[str, Any]
_PAUSE = 2.0  # seconds until an agent that went away is asked again
_NO_EVENT = "-"  # an id that no event has: who comes back with it is told that something may be missed


class Source(Protocol):
    """Who tells: `control.client.Client`."""

    def events(self, mesh: str | None, last: str | None) -> Iterator[tuple[str, Event] | None]:
        """Events with their ids; None where nothing happened for a while."""


def follow(
    source: Source,
    mesh: str | None,
    sleep: Callable[[float], None] = time.sleep,
    read: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """Events of one mesh or of all, over restarts of the agent. Ends when nobody reads (`read`).

    Raises ControlError if the agent has never answered, or refuses.
    """
    read = _is_read if read is None else read
    last: str | None = None
    lost = False
    while True:
        try:
            for told in source.events(mesh, last):
                lost = _found_again(lost)
                if told is not None:
                    last, event = told
                    yield event
                elif not read():
                    return
                else:
                    last = last or _NO_EVENT
        except ControlError as error:
            if last is None or isinstance(error, (Refused, NotPermitted)):
                raise
        lost = lost or _lost()
        last = last or _NO_EVENT
        sleep(_PAUSE)
        if not read():
            return


def _lost() -> bool:
    print("smegctl: the agent is gone; waiting for it", file=sys.stderr, flush=True)
    return True


def _found_again(lost: bool) -> bool:
    if lost:
        print("smegctl: the agent is there again", file=sys.stderr, flush=True)
    return False


def _is_read() -> bool:
    """Whether standard output still has a reader."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not poll.poll(0)


def event_line(event: Mapping[str, Any]) -> str:
    """When, in which mesh, what."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
    return f"{when}  {plain(event.get('mesh'))}  {event_text(event)}"


def event_text(event: Mapping[str, Any]) -> str:
    """What happened, in words."""
    kind, who = event.get("kind"), plain(event.get("member"))
    if kind == "appeared":
        return f"{who} appeared and is {plain(event.get('liveness'))}"
    if kind == "left":
        return f"{who} left"
    if kind == "liveness":
        return f"{who} is {plain(event.get('liveness'))}"
    if kind == "leader":
        return f"{who} leads" if event.get("member") else "nobody leads"
    if kind == "missed":
        return "some events were missed: see `smegctl members`"
    return f"{plain(kind)}: {plain(event.get('text'))}"
