# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all hosts say of their meshes, as tables for people."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

HEAD = ("HOST", "ROLE", "STATE", "ADDRESS", "INTERFACE", "PLANE", "ALIVE", "DOWN", "HOME", "LEADER")
_GAP = "  "


def report(hosts: Mapping[str, Mapping[str, t.Any] | None]) -> str:
    """One text from each host's answer of mesh_info; None stands for a host that gave none."""
    parts = [_mesh(name, hosts) for name in _meshes(hosts)]
    silent = [f"{host}: {_reason(answer)}" for host, answer in hosts.items() if _status(answer) is None]
    problems = [f"{host}: {problem}" for host, answer in hosts.items() for problem in _problems(answer)]
    parts += ["\n".join(lines) for lines in (silent, problems) if lines]
    return "\n\n".join(parts) or "no host is in a mesh"


def unanswered(hosts: Mapping[str, Mapping[str, t.Any] | None]) -> list[str]:
    """Every ping over a mesh that was not answered, as C(mesh: from -> to)."""
    return [
        f"{mesh}: {host} -> {other}"
        for host, answer in hosts.items()
        for mesh, pings in ((answer or {}).get("pings") or {}).items()
        for other, answered in pings.items()
        if not answered
    ]


def _mesh(name: str, hosts: Mapping[str, Mapping[str, t.Any] | None]) -> str:
    """The table of one mesh, and under it who reaches whom."""
    found = {host: _find(answer, name) for host, answer in hosts.items()}
    found = {host: mesh for host, mesh in found.items() if mesh}
    rows = [_row(host, mesh) for host, mesh in found.items()]
    text = f"mesh {name}\n" + table(HEAD, rows)
    pings = {host: ((hosts[host] or {}).get("pings") or {}).get(name) for host in found}
    if any(answers is not None for answers in pings.values()):
        text += f"\n\npings over {name}, from the left to the top\n" + _matrix(pings)
    return text


def _row(host: str, mesh: Mapping[str, t.Any]) -> list[str]:
    members = mesh.get("members") or {}
    home = " / ".join(str(mesh[key]) for key in ("home", "backup") if mesh.get(key))
    cells = [host, mesh.get("role"), mesh["state"], mesh.get("address"), mesh.get("interface"), mesh.get("plane")]
    cells += [members.get("alive", 0), members.get("down", 0), home, mesh.get("leader")]
    return ["-" if cell in (None, "") else str(cell) for cell in cells]


def _matrix(pings: Mapping[str, Mapping[str, bool] | None]) -> str:
    names = list(dict.fromkeys([*pings, *(name for answers in pings.values() for name in answers or {})]))
    words = {None: "?", True: "ok", False: "LOST"}
    rows = [
        [host, *("-" if name == host else words[(answers or {}).get(name)] for name in names)]
        for host, answers in pings.items()
    ]
    return table(["", *names], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns under a head."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = [_GAP.join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in (head, *rows)]
    return "\n".join(lines)


def _meshes(hosts: Mapping[str, Mapping[str, t.Any] | None]) -> list[str]:
    return sorted({mesh["mesh"] for answer in hosts.values() for mesh in (_status(answer) or {}).get("meshes", [])})


def _find(answer: Mapping[str, t.Any] | None, name: str) -> Mapping[str, t.Any] | None:
    meshes = (_status(answer) or {}).get("meshes", [])
    return next((mesh for mesh in meshes if mesh["mesh"] == name), None)


def _status(answer: Mapping[str, t.Any] | None) -> Mapping[str, t.Any] | None:
    return (answer or {}).get("status")


def _reason(answer: Mapping[str, t.Any] | None) -> str:
    return str((answer or {}).get("msg") or "not reached").splitlines()[0]


def _problems(answer: Mapping[str, t.Any] | None) -> list[str]:
    status = _status(answer) or {}
    own = [str(problem) for problem in status.get("problems", [])]
    for mesh in status.get("meshes", []):
        said = [mesh.get("problem"), *mesh.get("alarms", [])]
        own += [f"{mesh['mesh']}: {text}" for text in said if text]
    return own
