"""`smegctl status` and `smegctl members`: what the agent says, as a table or as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smegmesh.cli.output import duration, plain, size, table
from smegmesh.control.client import Client

Answers = list[dict[str, Any]]
_STATUS_HEAD = ("MESH", "STATE", "ROLE", "INTERFACE", "PLANE", "ADDRESS", "PORT", "ALIVE", "MUTE", "DOWN", "LEADER")
_ROUTES_HEAD = ("FROM", "TO MESH", "PREFIX", "THROUGH", "NOTE")
_MEMBERS_HEAD = ("NAME", "ROLE", "ADDRESS", "STATE", "HANDSHAKE", "RECEIVED", "SENT", "HOME", "NOTE")


def status_text(status: Mapping[str, Any], colour: bool) -> str:
    """The agent, a line a mesh, then everything that is wrong."""
    first = f"{plain(status.get('node_name'))}: smegd {plain(status.get('version'))}, up {duration(status['uptime'])}"
    meshes = status.get("meshes", [])
    parts = [first, f"node key {plain(status.get('node_key'))}", ""]
    parts.append(table(_STATUS_HEAD, [_status_row(mesh) for mesh in meshes], colour) if meshes else "in no mesh")
    routes = [_route_row(mesh, route) for mesh in meshes for route in mesh.get("routes", [])]
    if routes:
        parts += ["", table(_ROUTES_HEAD, routes, colour)]
    notes = [f"{name}: {plain(text)}" for name, text in _notes(status)]
    return "\n".join([*parts, *(["", *notes] if notes else [])])


def _status_row(mesh: Mapping[str, Any]) -> tuple[object, ...]:
    members = mesh.get("members") or {}
    named = [mesh.get(key) for key in ("mesh", "state", "role", "interface", "plane", "address", "port")]
    return (*named, *(members.get(key, 0) for key in ("alive", "mute", "down")), mesh.get("leader"))


def _route_row(mesh: Mapping[str, Any], route: Mapping[str, Any]) -> tuple[object, ...]:
    way = " > ".join(map(str, [route.get("via"), *route.get("path", [])]))
    return (mesh.get("mesh"), route.get("mesh"), route.get("prefix"), way, "" if route.get("used") else "not accepted")


def _notes(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    notes = [("smegd", text) for text in status.get("problems", [])]
    for mesh in status.get("meshes", []):
        if mesh.get("problem"):
            notes.append((plain(mesh.get("mesh")), mesh["problem"]))
        refusals = mesh.get("refusals") or {}
        if refusals:
            counted = ", ".join(f"{count} for {plain(what)}" for what, count in sorted(refusals.items()))
            notes.append((plain(mesh.get("mesh")), f"refused of others: {counted}"))
        notes.extend((f"{plain(mesh.get('mesh'))}: alarm", text) for text in mesh.get("alarms", []))
        notes.extend((f"{plain(mesh.get('mesh'))}: names", text) for text in mesh.get("names", []))
    return notes


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
