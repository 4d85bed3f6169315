"""`smegctl static-peers` and `smegctl export-client`: what a host carries without an agent, and what that needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smegmesh.cli.errors import Failed
from smegmesh.cli.output import duration, plain, size, table
from smegmesh.control.client import Client
from smegmesh.identity.address import mesh_prefix

KEEPALIVE = 25  # seconds; most NATs forget a mapping after 30
_HEAD = ("NAME", "ADDRESS", "PUBLIC KEY", "ENDPOINT", "PRESHARED KEY", "HANDSHAKE", "RECEIVED", "SENT", "NOTE")


def static_peers_text(peers: Mapping[str, Sequence[Mapping[str, Any]]], colour: bool) -> str:
    """A table a mesh that has any, headed by its name where there are several meshes."""
    tables = []
    for mesh, rows in peers.items():
        title = f"{plain(mesh)}\n" if len(peers) > 1 else ""
        if rows:
            tables.append(title + table(_HEAD, [_row(peer) for peer in rows], colour))
    return "\n\n".join(tables) or "this host has no static peers"


def _row(peer: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        peer.get("name"),
        peer.get("address"),
        peer.get("public_key"),
        peer.get("endpoint"),
        "yes" if peer.get("preshared_key") else "no",
        duration(peer.get("handshake_age")),
        size(peer.get("received", 0)),
        size(peer.get("sent", 0)),
        peer.get("problem"),
    )


def export(client: Client, state: Path, mesh: str, name: str, *, preshared_key: bool, routes: bool) -> str:
    """The configuration of a static peer's side, for wg-quick. Raises Failed, ControlError, StoreError.

    With `routes` it sends into the tunnel what this host reaches beyond the mesh and uses itself; with
    `preshared_key` it holds that key, a secret.
    """
    peers = {str(peer["name"]): peer for peer in client.static_peers(mesh)}
    if name not in peers:
        known = ", ".join(sorted(peers)) or "none"
        raise Failed(f"mesh {mesh} has no static peer {name} on this host", f"its static peers are: {known}")
    peer = peers[name]
    if peer.get("problem"):
        raise Failed(str(peer["problem"]), "mend that, and export again")
    key = _preshared_key(state, mesh, peer) if preshared_key else None
    own = next(member for member in client.members(mesh) if member["own"])
    if not own["endpoints"]:
        raise Failed("this host knows of no endpoint of its own", "declare one, or wait until it is found")
    status = client.status()
    found = next(each for each in status["meshes"] if each["mesh"] == mesh)
    beyond = [str(route["prefix"]) for route in found["routes"] if routes and route["used"]]
    return client_config(mesh, peer, own, str(status["tunnel_key"]), [str(mesh_prefix(mesh)), *beyond], key)


def _preshared_key(state: Path, mesh: str, peer: Mapping[str, Any]) -> str:
    from smegmesh.identity.keys import decode_key, encode_key
    from smegmesh.store.static_keys import load_static_key

    if not peer["preshared_key"]:
        fix = "declare it with `preshared_key: true`, or export without --preshared-key"
        raise Failed(f"the tunnel of static peer {peer['name']} has no preshared key", fix)
    return encode_key(load_static_key(state, mesh, decode_key(str(peer["public_key"]))))


def client_config(
    mesh: str,
    peer: Mapping[str, Any],
    own: Mapping[str, Any],
    tunnel_key: str,
    allowed: Iterable[str],
    preshared_key: str | None,
) -> str:
    """The text of it: `peer` as the API says it, `own` the member that carries it, with its keys in base64."""
    secret = [f"PresharedKey = {preshared_key}"] if preshared_key is not None else []
    if not secret and peer["preshared_key"]:
        secret = ["# PresharedKey = (the tunnel has one: export with --preshared-key to see it)"]
    lines = [
        f"# {peer['name']} in mesh {mesh}",
        "[Interface]",
        f"# PrivateKey = (made on the device, and nowhere else: the one whose public key is {peer['public_key']})",
        f"Address = {peer['address']}/128",
        "",
        "[Peer]",
        f"# {own['name']}",
        f"PublicKey = {tunnel_key}",
        *secret,
        f"AllowedIPs = {', '.join(allowed)}",
        f"Endpoint = {own['endpoints'][0]}",
        f"PersistentKeepalive = {KEEPALIVE}",
    ]
    return "\n".join(lines)


def write_secret(path: Path, text: str) -> None:
    """A new file of mode 0600, whole or not there; OSError if there is one already."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
    except OSError as error:
        path.unlink()
        error.filename = str(path)
        raise
