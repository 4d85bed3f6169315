# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the preshared keys of the inventory to those of one host: a pure function. No key is in a problem."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import DeclarationProblems

Keys = dict[str, dict[str, str]]  # by mesh id and the name of the other host


def keys_of(
    preshared: Mapping[str, t.Any],
    meshes: Mapping[str, t.Any],
    groups: Mapping[str, Sequence[str]],
    host: str,
    decode_key: Callable[[str], bytes],
) -> Keys:
    """The preshared keys that C(host) shares with others.

    C(preshared) is C(smegmesh_preshared_keys), C(decode_key) the agent's own, which raises ValueError. All of it is
    checked, whoever asks; raises DeclarationProblems with everything that is wrong.
    """
    problems: list[str] = []
    keys: Keys = {}
    for mesh_id, pairs in preshared.items():
        where = f"smegmesh_preshared_keys.{mesh_id}"
        if not isinstance(meshes.get(mesh_id), Mapping):
            problems.append(f"{where}: there is no such mesh in smegmesh_meshes: correct the name or remove the keys")
        elif not isinstance(pairs, Sequence) or isinstance(pairs, (str, bytes)):
            problems.append(f"{where}: must be a list of pairs such as {{hosts: [a1, a2], key: KEY}}")
        else:
            named = meshes[mesh_id].get("groups") or {}
            members = {member for group in named for member in groups.get(group, ())}
            for other, key in _keys_in(where, pairs, members, host, decode_key, problems):
                keys.setdefault(mesh_id, {})[other] = key
    if problems:
        raise DeclarationProblems(problems)
    return keys


def _keys_in(
    where: str,
    pairs: Sequence[t.Any],
    members: set[str],
    host: str,
    decode_key: Callable[[str], bytes],
    problems: list[str],
) -> list[tuple[str, str]]:
    """The other host and the key of each pair of C(host) in one mesh."""
    places: dict[t.Any, int] = {}  # of pairs, and of keys
    found = []
    for index, pair in enumerate(pairs):
        place = f"{where}[{index}]"
        problem = _problem(pair, members, decode_key)
        if problem is not None:
            problems.append(f"{place}: {problem}")
            continue
        hosts, key = frozenset(pair["hosts"]), str(pair["key"])
        for what, fix in ((hosts, "keep one of them"), (key, "each pair needs a key of its own")):
            if what in places:
                word = "pair" if what is hosts else "key"
                problems.append(f"{place}: its {word} is that of {where}[{places[what]}], too: {fix}")
            places.setdefault(what, index)
        if host in hosts:
            (other,) = hosts - {host}
            found.append((other, key))
    return found


def _problem(pair: t.Any, members: set[str], decode_key: Callable[[str], bytes]) -> str | None:
    """What is wrong with one pair by itself."""
    if not isinstance(pair, Mapping) or set(pair) != {"hosts", "key"}:
        return "must hold 'hosts' and 'key', and nothing else"
    hosts = pair["hosts"]
    if not isinstance(hosts, Sequence) or isinstance(hosts, (str, bytes)):
        return "hosts must be the names of two hosts"
    if not all(isinstance(host, str) for host in hosts) or len({*hosts}) != 2:
        return "hosts must be the names of two hosts"
    strangers = [host for host in hosts if host not in members]
    if strangers:
        return f"{' and '.join(strangers)} not in the mesh: correct the name or remove the pair"
    try:
        decode_key(str(pair["key"]))
    except ValueError as error:
        return f"key: {error}"
    return None
