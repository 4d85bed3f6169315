# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Members of a live mesh as an agent's API describes them. Pure; what they say of themselves is not trusted."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils.declarations import split_endpoint

Member = Mapping[str, t.Any]

LIVENESS = ("alive", "mute", "down")
HOST_NAMES = ("name", "alias", "address")
# Of node names the agent's own rule; it holds for DNS names too. It lets no option of ssh pass.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", re.ASCII)


class NoSuchMember(ValueError):
    """A name that no member has, or that does not tell which one is meant: what, and what to do."""


def sound(members: Iterable[t.Any]) -> tuple[list[Member], list[str]]:
    """The members whose name and address are what they should be, and one line on each of the others."""
    good, problems = [], []
    for member in members:
        if not isinstance(member, Mapping):
            problems.append(f"member {member!r} is not a mapping")
        elif not is_name(member.get("name")):
            problems.append(f"member {member.get('name')!r} has a name that no host may have")
        elif not is_address(member.get("address")):
            problems.append(f"member {member['name']} has the address {member.get('address')!r}, which is none")
        else:
            good.append(member)
    return good, problems


def current(members: Iterable[Member]) -> list[Member]:
    """One member for each name: a host that was replaced stays listed for a while, and the one that lives counts."""
    chosen: dict[str, Member] = {}
    for member in sorted(members, key=_preference):
        chosen.setdefault(member["name"], member)
    return sorted(chosen.values(), key=lambda member: member["name"])


def address(members: Sequence[Member], name: str) -> str:
    """The overlay address of the node with a name or, if there is none, with that alias; else NoSuchMember."""
    members = current(members)
    found = [member for member in members if member["name"] == name] or [
        member for member in members if member.get("alias") == name
    ]
    if not found:
        raise NoSuchMember(f"no member is called {name!r}: see `smegctl members` for names and aliases")
    if len(found) > 1:
        names = ", ".join(member["name"] for member in found)
        raise NoSuchMember(f"the alias {name!r} is that of {names}: use a node name")
    return found[0]["address"]


def names(members: Iterable[Member], role: str | None = None, liveness: str | None = None) -> list[str]:
    """The names of the members of a role and a liveness, each once, sorted."""
    return sorted(
        {
            member["name"]
            for member in members
            if role in (None, member.get("role")) and liveness in (None, member.get("liveness"))
        }
    )


def host_names(members: Sequence[Member], order: Sequence[str]) -> tuple[dict[str, Member], list[str]]:
    """Host name -> member by the first of C(order) that a member has, and one line on each alias that is passed over.

    An alias is what a node says of itself: one that is another's node name or alias names nobody.
    """
    node_names = {member["name"] for member in members}
    aliases = [member.get("alias") for member in members]
    hosts: dict[str, Member] = {}
    problems = []
    for member in members:
        for kind in order:
            value = member.get(kind)
            if kind == "alias" and value not in (None, member["name"]):
                taken = value in node_names or aliases.count(value) > 1 if is_name(value) else True
                if taken:
                    problems.append(f"the alias {value!r} of {member['name']} is no host name, or another's: not used")
                    continue
            if value:
                hosts[value] = member
                break
        else:
            problems.append(f"member {member['name']} has none of {', '.join(order)}: skipped")
    return hosts, problems


def endpoint_host(member: Member) -> str | None:
    """The host of the first endpoint of a peer, or None."""
    for endpoint in member.get("endpoints") or []:
        host = split_endpoint(str(endpoint))[0]
        if is_address(host) or is_name(host):
            return host
    return None


def is_name(value: t.Any) -> bool:
    """Whether a value may be the name of a host."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_address(value: t.Any) -> bool:
    """Whether a value is an IP address, without a zone."""
    try:
        return isinstance(value, str) and "%" not in value and bool(ipaddress.ip_address(value))
    except ValueError:
        return False


def _preference(member: Member) -> tuple[int, str]:
    liveness = member.get("liveness")
    return (LIVENESS.index(liveness) if liveness in LIVENESS else len(LIVENESS), str(member.get("node_key")))
