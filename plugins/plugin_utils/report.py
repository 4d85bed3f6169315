# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all hosts say of their meshes, as tables for people."""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import members

HEAD = ("HOST", "ROLE", "STATE", "ADDRESS", "INTERFACE", "PLANE", "ALIVE", "DOWN", "HOME", "LEADER")
DRIFT = "DRIFT"
ABSENT, UNDECLARED = "absent", "undeclared"
_LIVE = ("alive", "mute")
_GAP = "  "

Hosts = Mapping[str, t.Optional[Mapping[str, t.Any]]]
Declared = Mapping[str, Sequence[str]]


def report(hosts: Hosts, declared: Declared | None = None) -> str:
    """One text from each host's answer of mesh_info; None stands for a host that gave none.

    C(declared) is by mesh id who is to be in it, whether or not it was asked.
    """
    astray = drift(hosts, declared or {})
    parts = [_mesh(name, hosts, astray.get(name, {})) for name in sorted({*_meshes(hosts), *astray})]
    silent = [f"{host}: {reason(answer)}" for host, answer in hosts.items() if _status(answer) is None]
    problems = [f"{host}: {problem}" for host, answer in hosts.items() for problem in _problems(answer)]
    parts += ["\n".join(lines) for lines in (silent, problems) if lines]
    return "\n\n".join(parts) or "no host is in a mesh"


def drift(hosts: Hosts, declared: Declared) -> dict[str, dict[str, str]]:
    """By mesh id and name, who is not as the inventory says.

    C(absent), C(down) or C(mute) is who is declared, and not alive as the others see it; C(undeclared) is who lives in
    the mesh, and is not declared. What no host told of is not judged, and nothing is if nothing is declared.
    """
    if not declared:
        return {}
    found = {name: _astray(name, hosts, declared.get(name, ())) for name in {*_meshes(hosts), *declared}}
    return {name: astray for name, astray in found.items() if astray}


def _astray(name: str, hosts: Hosts, declared: Sequence[str]) -> dict[str, str]:
    told = {host: answer["members"] for host, answer in hosts.items() if answer and answer.get("members") is not None}
    views = {host: _view(told[host][name]) for host in told if name in told[host]}
    if not views:
        return {host: ABSENT for host in declared if host in told}
    words = {host: _liveness(host, views) for host in declared}
    found = {host: word for host, word in words.items() if word != "alive"}
    for other in sorted({each for view in views.values() for each in view} - set(declared)):
        if _liveness(other, views) in _LIVE:
            found[other] = UNDECLARED
    return found


def _view(said: Sequence[t.Any]) -> dict[str, members.Member]:
    """The members that one host told, by name."""
    return {member["name"]: member for member in members.current(members.sound(said)[0])}


def _liveness(name: str, views: Mapping[str, Mapping[str, members.Member]]) -> str:
    """The best that others say of a node; what it says of itself counts if nobody else says anything."""
    others = [view for host, view in views.items() if host != name] or list(views.values())
    words = {view[name].get("liveness") for view in others if name in view}
    return next((word for word in members.LIVENESS if word in words), ABSENT)


def unanswered(hosts: Hosts) -> list[str]:
    """Every ping over a mesh that was not answered, as C(mesh: from -> to)."""
    return [
        f"{mesh}: {host} -> {other}"
        for host, answer in hosts.items()
        for mesh, pings in ((answer or {}).get("pings") or {}).items()
        for other, answered in pings.items()
        if not answered
    ]


def _mesh(name: str, hosts: Hosts, astray: Mapping[str, str]) -> str:
    """The table of one mesh, with those whom nobody asked and who are astray, and under it who reaches whom."""
    found = {host: _find(answer, name) for host, answer in hosts.items()}
    found = {host: mesh for host, mesh in found.items() if mesh}
    rows = [_row(host, mesh) for host, mesh in found.items()]
    rows += [_unasked(node, name, hosts) for node in astray if node not in found]
    head: Sequence[str] = HEAD
    if astray:
        head, rows = [*HEAD, DRIFT], [[*row, astray.get(row[0], "-")] for row in rows]
    text = f"mesh {name}: {_summary(found)}\n" + table(head, rows)
    pings = {host: ((hosts[host] or {}).get("pings") or {}).get(name) for host in found}
    if any(answers is not None for answers in pings.values()):
        text += f"\n\npings over {name}, from the left to the top\n" + _matrix(pings)
    return text


def _summary(found: Mapping[str, Mapping[str, t.Any]]) -> str:
    """Is everybody there, who leads, what happened last: as most say it, and by the clock of whoever saw it last."""
    counts = [mesh.get("members") or {} for mesh in found.values()]
    missing = [sum(count.get(word, 0) for word in ("mute", "down")) for count in counts]
    leaders = sorted({str(mesh["leader"]) for mesh in found.values() if mesh.get("leader")})
    events = [mesh["last_change"] for mesh in found.values() if mesh.get("last_change")]
    parts = ["everybody is there" if not any(missing) else f"up to {max(missing)} are not there"]
    parts.append(f"{', '.join(leaders)} leads" if len(leaders) == 1 else f"leaders: {', '.join(leaders) or 'none'}")
    if events:
        last = max(events, key=lambda event: event["time"])
        when = datetime.datetime.fromtimestamp(last["time"], datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        what = {"liveness": f"is {last.get('liveness')}", "leader": "leads"}.get(last["kind"], last["kind"])
        parts.append(f"last change {when} UTC: {last.get('member') or 'nobody'} {what}")
    return "; ".join(parts) if found else "nobody was asked"


def _row(host: str, mesh: Mapping[str, t.Any]) -> list[str]:
    counts = mesh.get("members") or {}
    home = " / ".join(str(mesh[key]) for key in ("home", "backup") if mesh.get(key))
    cells = [host, mesh.get("role"), mesh["state"], mesh.get("address"), mesh.get("interface"), mesh.get("plane")]
    cells += [counts.get("alive", 0), counts.get("down", 0), home, mesh.get("leader")]
    return ["-" if cell in (None, "") else str(cell) for cell in cells]


def _unasked(node: str, mesh: str, hosts: Hosts) -> list[str]:
    """The row of a node that told nothing itself: what the first host that lists it says."""
    views = [_view(((answer or {}).get("members") or {}).get(mesh, ())) for answer in hosts.values()]
    member: members.Member = next((view[node] for view in views if node in view), {})
    return [node, member.get("role") or "-", "-", member.get("address") or "-", *["-"] * (len(HEAD) - 4)]


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


def _meshes(hosts: Hosts) -> list[str]:
    return sorted({mesh["mesh"] for answer in hosts.values() for mesh in (_status(answer) or {}).get("meshes", [])})


def _find(answer: Mapping[str, t.Any] | None, name: str) -> Mapping[str, t.Any] | None:
    meshes = (_status(answer) or {}).get("meshes", [])
    return next((mesh for mesh in meshes if mesh["mesh"] == name), None)


def _status(answer: Mapping[str, t.Any] | None) -> Mapping[str, t.Any] | None:
    return (answer or {}).get("status")


def reason(answer: Mapping[str, t.Any] | None) -> str:
    """Why a host gave no answer, in one line."""
    return str((answer or {}).get("msg") or "not reached").splitlines()[0]


def _problems(answer: Mapping[str, t.Any] | None) -> list[str]:
    status = _status(answer) or {}
    own = [str(problem) for problem in status.get("problems", [])]
    for mesh in status.get("meshes", []):
        said = [mesh.get("problem"), *mesh.get("alarms", [])]
        own += [f"{mesh['mesh']}: {text}" for text in said if text]
    return own
