"""The agent's ports in the host's own firewall, where the operator asks for it.

An accept in a chain of the agent's own would not do: of the base chains of a hook each has its say, and one that drops
is enough (nft(8)). So each port gets a rule at the head of chains that the operator names, with a comment by which it
is known again. Nothing else in there is touched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smegmesh.dataplane.nft import listed, nft
from smegmesh.dataplane.plane import PlaneError

#: The first word of the comments; whoever else begins one with it, it is the whole form that is ours.
MARK = "smegmesh"
_COMMENT = re.compile(rf"{MARK} (udp|tcp) [0-9]+")
_FAMILIES = ("inet", "ip", "ip6")


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """`protocol` is udp or tcp."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return f"{self.protocol} {self.number}"


@dataclass(frozen=True, slots=True)
class Opened:
    """What was changed, in words; chains that were not named and drop what no rule of theirs lets in."""

    changed: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """A rule of ours: its comment, and the number by which nft knows it."""

    comment: str
    handle: int


def open_ports(chains: Sequence[str], ports: Collection[Port]) -> Opened:
    """Have these chains (`inet filter input`) let the ports in, and no others; without ports, or chains, none is open.

    PlaneError where nft refuses, or knows no such chain for what comes in. A host without any such chain has nothing
    to open.
    """
    policies = input_chains(listed(["list", "chains"]))
    if ports:
        _check_named(chains, policies)
    changes: dict[str, str] = {}
    for chain in policies:
        held = marked(listed(["-t", "list", "chain", *chain.split()]))
        changes |= rule_changes(chain, ports if chain in chains else (), held)
    if changes:
        nft(["-f", "-"], "".join(f"{command}\n" for command in changes), "the rules for the agent's ports")
    closed = [chain for chain, policy in policies.items() if policy == "drop" and chain not in chains]
    return Opened(tuple(changes.values()), tuple(closed) if ports else ())


def input_chains(listing: Mapping[str, Any]) -> dict[str, str]:
    """Of what `nft -j list chains` printed, those that filter what comes in, each with its policy."""
    chains = (item["chain"] for item in listing.get("nftables", ()) if "chain" in item)
    return {
        f"{chain['family']} {chain['table']} {chain['name']}": chain.get("policy", "accept")
        for chain in chains
        if chain.get("hook") == "input" and chain.get("type") == "filter" and chain["family"] in _FAMILIES
    }


def marked(listing: Mapping[str, Any]) -> list[Marked]:
    """The rules of ours in what `nft -j list chain` printed."""
    rules = (item["rule"] for item in listing.get("nftables", ()) if "rule" in item)
    return [Marked(rule["comment"], rule["handle"]) for rule in rules if _COMMENT.fullmatch(rule.get("comment", ""))]


def rule_changes(chain: str, ports: Iterable[Port], held: Iterable[Marked]) -> dict[str, str]:
    """Commands for `nft -f`, each with what it does in words."""
    missing = {f"{MARK} {port}": port for port in sorted(ports)}
    changes = {}
    for rule in held:
        # What is there twice goes once.
        if missing.pop(rule.comment, None) is None:
            changes[f"delete rule {chain} handle {rule.handle}"] = f"{chain}: `{rule.comment}` is gone"
    for comment, port in missing.items():
        command = f'insert rule {chain} {port.protocol} dport {port.number} accept comment "{comment}"'
        changes[command] = f"{chain}: {port} is open"
    return changes


def _check_named(chains: Sequence[str], policies: Mapping[str, str]) -> None:
    missing = [chain for chain in chains if chain not in policies]
    if missing and policies:
        raise PlaneError(
            f"there is no chain `{missing[0]}` that filters what comes in: name another with smegmesh_firewall_chains, "
            f"of {', '.join(policies)}"
        )
