"""`smegctl status`: is everybody there, who leads, what changed last, what is wrong. One screen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from smegmesh.cli.output import clip, duration, paint, plain, table
from smegmesh.cli.show import mesh_problems
from smegmesh.cli.watch import event_text
from smegmesh.control.client import Client

Missing = Mapping[str, Mapping[str, Sequence[str]]]  # by mesh id, then down or mute: names
Static = Mapping[str, Sequence[Mapping[str, Any]]]  # static peers by mesh id
_NAMED = 5  # of those who are missing; more only make the line long
_HEAD = ("MESH", "STATE", "ROLE", "ALIVE", "MUTE", "DOWN", "LEADER", "LINKS", "ROUTES")


def missing(client: Client, status: Mapping[str, Any]) -> Missing:
    """Who is down or mute. Nobody is asked where all are alive."""
    return {
        str(mesh["mesh"]): {
            word: [str(member["name"]) for member in client.members(str(mesh["mesh"]), liveness=word)]
            for word in ("down", "mute")
            if mesh["members"].get(word)
        }
        for mesh in status["meshes"]
    }


def status_text(
    status: Mapping[str, Any],
    colour: bool,
    limit: int | None = None,
    gone: Missing = MappingProxyType({}),
    static: Static = MappingProxyType({}),
) -> str:
    """The screen; no line is longer than `limit`, if there is one."""
    meshes = status.get("meshes", [])
    first = f"{plain(status.get('node_name'))}: smegd {plain(status.get('version'))}, up {duration(status['uptime'])}"
    parts = [f"{clip(first, limit)}\n{clip('node key ' + plain(status.get('node_key')), limit)}"]
    parts.append("\n".join(_wrong(status, gone, static, colour, limit)))
    parts.append(_table(meshes, colour, limit) if meshes else "in no mesh")
    changes = [clip(f"  {plain(mesh.get('mesh'))}: {_change(mesh)}", limit) for mesh in meshes if "last_change" in mesh]
    parts += ["\n".join(["what changed last:", *changes])] if changes else []
    count = sum(map(len, static.values()))
    parts += [clip(f"static peers: {count}, see `smegctl static-peers`", limit)] if count else []
    return "\n\n".join(parts)


def _wrong(status: Mapping[str, Any], gone: Missing, static: Static, colour: bool, limit: int | None) -> Iterator[str]:
    """Not cut: this is what one has to read."""
    said = [("smegd", text, "failed") for text in status.get("problems", [])]
    for mesh in status.get("meshes", []):
        name = str(mesh.get("mesh"))
        state = str(mesh.get("state"))
        said += [(name, text, "failed") for text in mesh_problems(mesh)] or [(name, state, state)] * (state != "up")
        said += [(name, f"{word}: {_listed(names)}", word) for word, names in gone.get(name, {}).items() if names]
        said += [
            (name, f"{each['name']}: {each['problem']}", "mute") for each in static.get(name, ()) if each["problem"]
        ]
    if not said:
        yield paint("all is well", "up", colour)
        return
    yield paint("what is wrong:", "failed", colour)
    for name, text, word in said:
        yield paint(f"  {plain(name)}: {plain(text)}", word, colour)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _table(meshes: Sequence[Mapping[str, Any]], colour: bool, limit: int | None) -> str:
    homes = [" / ".join(str(mesh[key]) for key in ("home", "backup") if mesh.get(key)) for mesh in meshes]
    rows = [_row(mesh) for mesh in meshes]
    if any(homes):
        return table((*_HEAD, "HOME"), [(*row, home) for row, home in zip(rows, homes, strict=True)], colour, limit)
    return table(_HEAD, rows, colour, limit)


def _row(mesh: Mapping[str, Any]) -> tuple[object, ...]:
    members, routes = mesh.get("members") or {}, mesh.get("routes", [])
    counts = {key: members.get(key, 0) for key in ("alive", "mute", "down")}
    used = sum(bool(route.get("used")) for route in routes)
    return (
        *(mesh.get(key) for key in ("mesh", "state", "role")),
        f"{counts['alive']} of {sum(counts.values())}",
        counts["mute"],
        counts["down"],
        mesh.get("leader"),
        mesh.get("links"),
        f"{used} of {len(routes)}" if routes else "",
    )


def _change(mesh: Mapping[str, Any]) -> str:
    event = mesh["last_change"]
    if event is None:
        return "nothing since the agent started"
    return f"{event_text(event)}, {duration(time.time() - event['time'])} ago"
