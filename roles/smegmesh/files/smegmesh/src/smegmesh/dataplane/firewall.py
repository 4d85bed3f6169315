"""The agent's own nft table: what is forwarded through mesh interfaces, and which way replies go.

Packets of a mesh go from its interface back into the same one, into those of other meshes that
are named, and out of the overlay to the prefixes that this host is an exit for. Nothing else goes from or
to a mesh interface, and nothing into one that came in by another mesh than the one that leads back to its
source. What came from outside the overlay gets a mark, and so do this host's answers to it, and whatever it
sends from an address outside: rules for unmarked packets then do not take them away from where they belong.
The table is replaced as a whole in one transaction; other tables are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Network
from typing import Any

from smegmesh.dataplane.nft import listed, nft, run
from smegmesh.dataplane.ranges import Range, longest_matches, union
from smegmesh.routing.tables import MARK, Forwarding

TABLE = "smegmesh"
_WHAT = f"the table {TABLE}"

# Where the meshes' own addresses are. A shorter prefix, `::/0` above all, does not stand for them.
_MESHES = IPv6Network("fd00::/8")

# Sources that packets into a mesh interface may have, whatever the mesh: its own, and what never leaves a link.
_OVERLAY = (_MESHES, IPv6Network("fe80::/10"), IPv6Network("::/128"))

_CLAMP = "tcp flags syn tcp option maxseg size set rt mtu"


def ruleset(plan: Mapping[str, Forwarding]) -> str:
    """The text for `nft -f` that replaces the table by one for these mesh interfaces, one at least."""
    ranges = {device: _ranges(forwarding.prefixes) for device, forwarding in plan.items()}
    routed = union(found for _reached, _masqueraded, plain in ranges.values() for found in plain)
    chains = {
        "forward": ("filter hook forward priority -10", _forward(plan, ranges)),
        # Priorities by number, which every nft reads: these are mangle and srcnat.
        "prerouting": ("filter hook prerouting priority -150", _prerouting(plan, routed)),
        "output": ("route hook output priority -150", _output(routed)),
        "postrouting": ("nat hook postrouting priority 100", _postrouting(plan, ranges)),
    }
    text = "".join(_chain(name, kind, rules) for name, (kind, rules) in chains.items())
    return f"""\
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    set meshes {{
        type ifname
        elements = {_names(plan)}
    }}
{text}}}
"""


def _forward(plan: Mapping[str, Forwarding], ranges: Mapping[str, _Ranges]) -> Iterator[str]:
    for device, forwarding in sorted(plan.items()):
        yield from _ways_back(device, forwarding)
    yield f"iifname @meshes {_CLAMP}"
    yield f"oifname @meshes {_CLAMP}"
    for device, forwarding in sorted(plan.items()):
        into = {device, *forwarding.meshes} & plan.keys()
        reached, _masqueraded, routed = ranges[device]
        yield f'iifname "{device}" oifname {_names(into)} accept'
        if reached:
            yield f'iifname "{device}" oifname != @meshes ip6 daddr {_set(reached)} accept'
        if routed:
            yield f'oifname "{device}" iifname != @meshes ip6 saddr {_set(routed)} accept'
        if reached:
            yield f'oifname "{device}" iifname != @meshes ct state established,related accept'
    yield "iifname @meshes drop"
    yield "oifname @meshes drop"


def _ways_back(device: str, forwarding: Forwarding) -> Iterator[str]:
    """What has come in by another mesh than the one that leads back to its source goes no further."""
    found: dict[str, list[Range]] = {}
    for where, back in longest_matches(forwarding.sources):
        found.setdefault("" if back is None else f'iifname != "{back}" ', []).append(where)
    for elsewhere, ranges in sorted(found.items()):
        yield f'oifname "{device}" iifname @meshes {elsewhere}ip6 saddr {_set(ranges)} drop'


def _prerouting(plan: Mapping[str, Forwarding], routed: list[Range]) -> Iterator[str]:
    yield f"iifname {_names(['lo', *plan])} accept"
    yield "meta nfproto != ipv6 accept"
    if routed:
        # They may go on into the overlay, to prefixes that are in tables for unmarked packets.
        yield f"ct mark 0 ip6 saddr {_set(routed)} fib daddr type != local accept"
    # Whoever began it, not only its first packet: it may be older than this table. A mark of others stays.
    yield f"ct direction original ct mark 0 ct mark set {MARK:#x}"
    yield f"ct mark {MARK:#x} meta mark 0 meta mark set {MARK:#x}"


def _output(routed: list[Range]) -> Iterator[str]:
    yield "meta nfproto != ipv6 accept"
    yield "meta mark != 0 accept"
    # A connection that is older than connection tracking keeps its way, whoever began it. One from the
    # address of a mesh is none of those: its way is through the mesh.
    yield f"ct state new ct mark 0 tcp flags & (syn | rst) == 0 ip6 saddr != {_MESHES} ct mark set {MARK:#x}"
    yield f"ct mark {MARK:#x} meta mark set {MARK:#x}"
    # Who bound itself to an address outside the overlay, or has it from when there was another way, would be refused
    # at the other end.
    carried = union([*routed, *map(_range, _OVERLAY)])
    yield f"oifname @meshes ip6 saddr != {_set(carried)} meta mark set {MARK:#x}"


def _postrouting(plan: Mapping[str, Forwarding], ranges: Mapping[str, _Ranges]) -> Iterator[str]:
    for device in sorted(plan):
        _reached, masqueraded, _routed = ranges[device]
        if masqueraded:
            yield f'iifname "{device}" oifname != @meshes ip6 daddr {_set(masqueraded)} masquerade'


# All addresses outside that an interface's packets may go to, those of them to which they are masqueraded, the others.
_Ranges = tuple[list[Range], list[Range], list[Range]]


def _ranges(prefixes: Mapping[IPv6Network, bool]) -> _Ranges:
    decided: dict[IPv6Network, bool | None] = {**prefixes, _MESHES: None}
    found = [(where, masquerade) for where, masquerade in longest_matches(decided) if masquerade is not None]
    return (
        union(where for where, _masquerade in found),
        [where for where, masquerade in found if masquerade],
        [where for where, masquerade in found if not masquerade],
    )


def _chain(name: str, kind: str, rules: Iterable[str]) -> str:
    lines = [f"        {rule}\n" for rule in rules]
    if not lines:
        return ""
    return f"    chain {name} {{\n        type {kind}; policy accept;\n{''.join(lines)}    }}\n"


def _range(network: IPv6Network) -> Range:
    return Range(int(network.network_address), int(network.broadcast_address))


def _set(ranges: Iterable[Range]) -> str:
    return f"{{ {', '.join(map(str, ranges))} }}"


def _names(devices: Iterable[str]) -> str:
    quoted = ", ".join(f'"{device}"' for device in sorted(devices))
    return f"{{ {quoted} }}"


def install(plan: Mapping[str, Forwarding]) -> None:
    """Put the table in place for these mesh interfaces, in one step. PlaneError if nft refuses it."""
    nft(["-f", "-"], ruleset(plan), _WHAT)


def listing() -> str:
    """The table as nft lists it, to see whether somebody changed it; empty if there is none."""
    done = run(["list", "table", "inet", TABLE])
    return "" if done.returncode else done.stdout


def remove() -> None:
    """Take the table away; nothing happens if there is none."""
    nft(["-f", "-"], f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n", _WHAT)


def foreign_drops() -> list[str]:
    """Chains of others that drop forwarded IPv6 packets unless a rule of theirs lets them pass.

    Our accept does not outrank them, so their owner must be told.
    """
    return find_drops(listed(["list", "chains"]))


def find_drops(listing: dict[str, Any]) -> list[str]:
    """`foreign_drops` of what `nft -j list chains` printed."""
    chains = [item["chain"] for item in listing.get("nftables", ()) if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["family"] in ("ip6", "inet")
        and (chain["family"], chain["table"]) != ("inet", TABLE)
    ]
