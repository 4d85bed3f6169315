"""`smegctl members`, `mesh show` and `route list`: what the agent says, as a text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smegmesh.cli.output import duration, paint, plain, size, table
from smegmesh.control.client import Client

Answers = list[dict[str, Any]]
_MESH_KEYS = (
    *("mesh", "state", "role", "interface", "plane", "address", "port"),
    *("leader", "home", "backup", "links", "number", "digest"),
)
_OWN_HEAD = ("ADVERTISED", "NOTE", "FILE")
_ROUTES_HEAD = ("TO MESH", "PREFIX", "THROUGH", "NOTE")
_MEMBERS_HEAD = ("NAME", "ROLE", "ADDRESS", "STATE", "HANDSHAKE", "RECEIVED", "SENT", "HOME", "NOTE")


def mesh_text(mesh: Mapping[str, Any], colour: bool) -> str:
    """One mesh: what it is on this host, what is wrong with it, and what lies beyond it."""
    members = mesh.get("members") or {}
    rows: list[tuple[str, object]] = [(key, mesh.get(key)) for key in _MESH_KEYS]
    rows.append(("members", ", ".join(f"{members.get(key, 0)} {key}" for key in ("alive", "mute", "down"))))
    width = max(len(key) for key, _value in rows) + 2
    lines = [f"{key:{width}}{paint(plain(value), str(value), colour)}" for key, value in rows]
    parts = ["\n".join(lines), *(["\n".join(mesh_problems(mesh))] if mesh_problems(mesh) else [])]
    if mesh.get("advertised") or mesh.get("routes"):
        parts.append(routes_text(mesh.get("advertised", []), mesh.get("routes", []), colour))
    return "\n\n".join(parts)


def mesh_problems(mesh: Mapping[str, Any]) -> list[str]:
    """All that is wrong with a mesh, a line each."""
    lines = [str(mesh["problem"])] if mesh.get("problem") else []
    refusals = mesh.get("refusals") or {}
    if refusals:
        counted = ", ".join(f"{count} for {what}" for what, count in sorted(refusals.items()))
        lines.append(f"refused of others: {counted}")
    lines += [f"alarm: {text}" for text in mesh.get("alarms", [])]
    lines += [f"names: {text}" for text in mesh.get("names", [])]
    return [plain(line) for line in lines]


def routes_text(advertised: Answers, reached: Answers, colour: bool) -> str:
    """What this host advertises, with the file that says so, and what it reaches."""
    own = [(each.get("prefix"), "" if each.get("active") else "not now", each.get("file")) for each in advertised]
    beyond = [(each.get("mesh"), each.get("prefix"), _way(each), _note(each)) for each in reached]
    tables = [table(_OWN_HEAD, own, colour)] if own else []
    tables += [table(_ROUTES_HEAD, beyond, colour)] if beyond else []
    return "\n\n".join(tables) or "nothing is advertised or reached beyond the mesh"


def _way(route: Mapping[str, Any]) -> str:
    return " > ".join(map(str, [route.get("via"), *route.get("path", [])]))


def _note(route: Mapping[str, Any]) -> str:
    return "" if route.get("used") else "not accepted"


def collect(client: Client, mesh: str | None, ask: Callable[[str], Answers]) -> dict[str, Answers]:
    """What is said by mesh id: of one mesh, or of all that are not failed."""
    if mesh is not None:
        return {mesh: ask(mesh)}
    names = [str(each["mesh"]) for each in client.meshes() if each.get("state") != "failed"]
    return {name: ask(name) for name in names}


def members_text(members: Mapping[str, Sequence[Mapping[str, Any]]], colour: bool) -> str:
    """A table a mesh, headed by its name where there are several."""
    tables = []
    for mesh, rows in members.items():
        title = f"{plain(mesh)}\n" if len(members) > 1 else ""
        tables.append(title + table(_MEMBERS_HEAD, [_member_row(member) for member in rows], colour))
    return "\n\n".join(tables) or "in no mesh"


def _member_row(member: Mapping[str, Any]) -> tuple[object, ...]:
    alias = f" ({member['alias']})" if member.get("alias") else ""
    home = " / ".join(str(member[key]) for key in ("home", "backup") if member.get(key))
    notes = [word for word, there in (("this host", member.get("own")), ("leader", member.get("leader"))) if there]
    if member.get("through"):
        notes.append(f"through {member['through']}: its figures")
    if member.get("preshared_key"):
        notes.append("preshared key")
    if member.get("static_peers"):
        notes.append(f"carries {', '.join(sorted(member['static_peers']))}")
    return (
        f"{member.get('name')}{alias}",
        member.get("role"),
        member.get("address"),
        member.get("liveness"),
        duration(member.get("handshake_age")),
        size(member.get("received", 0)),
        size(member.get("sent", 0)),
        home,
        ", ".join(notes),
    )
