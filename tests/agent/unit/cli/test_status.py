"""The one screen: what an operator asks first stands first, and is never cut off."""

from __future__ import annotations

from typing import Any

import pytest

from smegmesh.cli.output import clip, table
from smegmesh.cli.status import status_text


def status(*meshes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"node_name": "a1", "version": "1.0", "node_key": "key", "uptime": 3.0, "meshes": list(meshes), **more}


def mesh(name: str = "prod", **more: Any) -> dict[str, Any]:
    return {"mesh": name, "state": "up", "role": "peer", "members": {"alive": 2, "mute": 0, "down": 0}, **more}


def wrong(text: str) -> list[str]:
    """The lines below the heading."""
    lines = text.split("\n\n")[1].splitlines()
    return [line.strip() for line in lines[1:]] if lines[0] == "what is wrong:" else lines


def test_all_is_well_only_if_it_is() -> None:
    assert wrong(status_text(status(mesh()), False)) == ["all is well"]
    assert wrong(status_text(status(mesh(state="starting")), False)) == ["prod: starting"]
    assert wrong(status_text(status(mesh(state="failed", problem="no port")), False)) == ["prod: no port"]
    assert wrong(status_text(status(mesh(refusals={"signature": 2})), False)) == [
        "prod: refused of others: 2 for signature"
    ]
    assert wrong(status_text(status(mesh(), problems=["no disk"]), False)) == ["smegd: no disk"]
    static = {"prod": [{"name": "phone", "problem": "phone is a member"}, {"name": "tv", "problem": None}]}
    assert wrong(status_text(status(mesh()), False, static=static)) == ["prod: phone: phone is a member"]


@pytest.mark.parametrize(
    ("count", "said"), [(1, "c0"), (5, "c0, c1, c2, c3, c4"), (8, "c0, c1, c2, c3, c4 and 3 more")]
)
def test_who_is_missing_is_named(count: int, said: str) -> None:
    names = [f"c{index}" for index in range(count)]
    assert wrong(status_text(status(mesh()), False, gone={"prod": {"down": names, "mute": []}})) == [
        f"prod: down: {said}"
    ]


def test_homes_are_shown_where_there_are_any() -> None:
    assert "HOME" not in status_text(status(mesh()), False)
    assert status_text(status(mesh(home="a2", backup="a3")), False).splitlines()[-1].endswith("  a2 / a3")


def test_a_host_in_no_mesh() -> None:
    assert status_text(status(), False).splitlines()[-1] == "in no mesh"


def test_what_is_wrong_is_never_cut_off_and_all_else_fits() -> None:
    problem = "a problem " * 10
    event = {"kind": "liveness", "time": 0.0, "member": "c" * 60, "liveness": "down"}
    text = status_text(status(mesh(problem=problem.strip(), last_change=event)), True, 40)
    assert problem.strip() in text
    plain = [line for line in text.splitlines() if problem.strip() not in line]
    assert max(len(line.replace("\033[32m", "").replace("\033[31m", "").replace("\033[0m", "")) for line in plain) == 40


def test_a_table_loses_its_last_columns_first() -> None:
    assert table(("A", "B", "C"), [["alpha", "beta", "x"]], False, 9).splitlines() == ["A      B", "alpha  b…"]
    assert table(("A", "B"), [["alpha", 1]], False, 7).splitlines() == ["A", "alpha"]
    assert clip("alpha", 5) == "alpha" and clip("alpha", 4) == "alp…" and clip("alpha", None) == "alpha"
