"""Expressions over what an agent knows: what they find, what is wrong with them, and what none may cost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from smegmesh.control import searching, types
from smegmesh.control.query import BadExpression, caret, check, encode, search
from smegmesh.control.searching import NotSearched, Searcher

PICTURE = {"status": {"node_name": "a1"}, "meshes": [], "members": {"prod": [{"name": "a1"}, {"name": "a2"}]}}
STATUS = types.Status(version="1.0", node_name="a1", node_key="key", uptime=3.0, meshes=[])
MEMBERS = [
    types.Member(name=f"a{number}", role="peer", node_key="key", address="fd00::1", liveness="alive", number=3)
    for number in range(100)
]


async def known() -> tuple[types.Status, dict[str, list[types.Member]]]:
    return STATUS, {"prod": MEMBERS}


@pytest.mark.parametrize(
    ("expression", "found"),
    [("members.prod[].name", ["a1", "a2"]), ("length(members.prod)", 2), ("status.nothing", None), ("'é'", "é")],
)
def test_what_is_there_is_found(expression: str, found: object) -> None:
    assert search(expression, PICTURE) == found


@pytest.mark.parametrize(
    ("expression", "why", "position"),
    [
        ("members[", "is not complete, at column 9", 8),
        ("members..prod", "got: dot", 8),
        ("status #", "Unknown token #, at column 8", 7),
        ("", "cannot be empty", None),
        ("nosuch(@)", r"Unknown function: nosuch\(\)", None),
        ("sum(@, @)", "Expected 1 argument", None),
        ("abs(status)", "invalid type", None),
        ("abs(join('', ['" + "x" * 1000 + "']))", r"invalid type for value: …", None),
        ("(" * 2000, "too deeply", None),
        ("a" * 2049, "longer than 2048 bytes", None),
        ("\udc80", "not UTF-8", None),
        ("members.prod[::0]", "step", None),
    ],
)
def test_what_is_wrong_is_one_line_with_its_column(expression: str, why: str, position: int | None) -> None:
    with pytest.raises(BadExpression, match=why) as caught:
        search(expression, PICTURE)
    assert "\n" not in str(caught.value) and caught.value.position == position


def test_what_is_found_is_json() -> None:
    assert encode(search("[`1`, status.nothing]", PICTURE)) == '{"result": [1, null]}'
    with pytest.raises(BadExpression, match="JSON"):
        encode(search("to_number('inf')", PICTURE))


def test_a_caret_is_below_what_is_wrong() -> None:
    with pytest.raises(BadExpression) as caught:
        check("members\x1b..prod")
    assert caught.value.position is not None
    assert caret("members\x1b..prod", caught.value.position) == "  members?..prod\n         ^"


@pytest.fixture
async def searcher() -> AsyncIterator[Searcher]:
    made = Searcher()
    yield made
    await made.close()


async def test_a_process_of_its_own_finds_the_same(searcher: Searcher) -> None:
    found = await searcher.search("members.prod[-1].name", known)
    assert found == b'{"result": "a99"}'


async def test_the_next_question_is_for_the_same_process(searcher: Searcher, started: list[object]) -> None:
    with pytest.raises(NotSearched, match="at column 9"):
        await searcher.search("members[", known)
    assert await searcher.search("status.node_name", known) == b'{"result": "a1"}'
    assert await asyncio.gather(*(searcher.search("meshes", known) for _ in range(6))) == [b'{"result": []}'] * 6
    assert len(started) == 2, "as many as may search at once"


async def test_a_process_that_nobody_asks_ends(
    searcher: Searcher, started: list[asyncio.subprocess.Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_IDLE", 0.0)
    await searcher.search("meshes", known)
    (process,) = started
    assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGKILL
    assert await searcher.search("meshes", known) == b'{"result": []}'


async def test_one_that_was_ended_meanwhile_is_started_again(
    searcher: Searcher, started: list[asyncio.subprocess.Process]
) -> None:
    await searcher.search("meshes", known)
    started[0].kill()
    await started[0].wait()
    assert await searcher.search("meshes", known) == b'{"result": []}'


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.subprocess.Process]:
    """The processes that were."""
    processes = []
    start = asyncio.create_subprocess_exec

    async def note(*command: str, **options: Any) -> asyncio.subprocess.Process:
        processes.append(await start(*command, **options))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", note)
    return processes


DOUBLED = " | ".join(["[@, @]"] * 40)
LONG = " | ".join(["[to_string(@), '']", *["[join(@[0], @), @[0]]"] * 20])


@pytest.mark.parametrize("expression", [DOUBLED, LONG])
async def test_no_expression_costs_more_than_there_is(searcher: Searcher, expression: str) -> None:
    with pytest.raises(NotSearched, match="more time or memory than there is"):
        await searcher.search(expression, known)
    assert await searcher.search("meshes", known) == b'{"result": []}'


async def test_who_takes_too_long_is_ended(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "_TIME", 0.0)
    with pytest.raises(NotSearched, match="more time or memory"):
        await searcher.search("status", known)
