"""Following what happens: over restarts of the agent, with nothing lost silently, until nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from smegmesh.cli.watch import Event, event_text, follow
from smegmesh.control.client import read_events
from smegmesh.control.errors import NotPermitted, NotRunning, Refused

Told = tuple[str, Event] | None
GONE = NotRunning("smegd is not running", "start it")


class Agents:
    """What each connection tells, one after the other; an exception is how it ends, and after the last nobody reads."""

    def __init__(self, *connections: list[Told | Exception]) -> None:
        self._connections = list(connections)
        self.resumed: list[str | None] = []
        self.slept: list[float] = []

    def events(self, _mesh: str | None, last: str | None) -> Iterator[Told]:
        self.resumed.append(last)
        for told in self._connections.pop(0):
            if isinstance(told, Exception):
                raise told
            yield told

    def follow(self, read: Callable[[], bool] | None = None) -> list[Any]:
        return [event["kind"] for event in follow(self, None, self.slept.append, read or self._are_left)]

    def _are_left(self) -> bool:
        return bool(self._connections)


def event(kind: str, **more: Any) -> Event:
    return {"kind": kind, "time": 0.0, "mesh": "prod", **more}


def test_it_goes_on_after_the_event_that_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    agents = Agents([None, ("a-1", event("left"))], [GONE], [GONE], [("b-0", event("missed"))])
    assert agents.follow() == ["left", "missed"]
    assert agents.resumed == [None, "a-1", "a-1", "a-1"]
    assert len(agents.slept) == 4
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("smegctl: the agent is ") for line in said[:2]] == ["gone; waiting for it", "there again"]


def test_who_has_seen_no_event_is_told_that_he_may_have_missed_some() -> None:
    agents = Agents([None], [None])
    agents.follow()
    first, second = agents.resumed
    assert first is None and second is not None, "the agent answers an id that it does not know with `missed`"


@pytest.mark.parametrize(
    "error", [GONE, NotPermitted("no", "use sudo"), Refused(404, "no such mesh", "see `smegctl status`")]
)
def test_an_agent_that_was_never_there_is_an_error(error: Exception) -> None:
    with pytest.raises(type(error)):
        Agents([error]).follow()


def test_an_agent_that_refuses_to_go_on_is_an_error() -> None:
    with pytest.raises(Refused):
        Agents([None, ("a-1", event("left"))], [Refused(404, "no such mesh", "see `smegctl status`")]).follow()


def test_it_ends_where_nobody_reads() -> None:
    agents = Agents([None, ("a-1", event("left")), None, ("a-2", event("left"))])
    readers = iter([True, False])
    assert agents.follow(lambda: next(readers)) == ["left"]


def test_a_stream_is_read_as_it_is_sent() -> None:
    blocks = [
        "retry: 2000\n",
        'id: r-1\nevent: left\ndata: {"kind":"left","text":"a: b"}\n',
        ":\n",
        "id: r-2\ndata: {}\n",
    ]
    stream = "\n".join([*blocks, "id: r-3\n"]).encode()
    told = list(read_events(stream.splitlines(keepends=True)))
    assert told == [None, ("r-1", {"kind": "left", "text": "a: b"}), None, ("r-2", {})]


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (event("appeared", member="c1", liveness="alive"), "c1 appeared and is alive"),
        (event("left", member="c1\x1b[31m"), "c1?[31m left"),
        (event("liveness", member="c1", liveness="down"), "c1 is down"),
        (event("leader", member="a1"), "a1 leads"),
        (event("leader"), "nobody leads"),
        (event("alarm", text="a key\nis in use twice"), "alarm: a key?is in use twice"),
        (event("missed"), "some events were missed: see `smegctl members`"),
        (event("new", text="what a newer agent says"), "new: what a newer agent says"),
    ],
)
def test_events_in_words(told: Event, text: str) -> None:
    assert event_text(told) == text
