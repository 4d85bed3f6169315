"""Which addresses of this node the others see: what they say, what of it is believed, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

#: So many peers must say the same; where fewer say anything, all of them. One that lies cannot move a node.
QUORUM = 2
MAX_ADDRESS_TEXT = 45  # an IPv4-mapped IPv6 address written out


def read_address(text: str) -> Address | None:
    """The address that a text is, an IPv4 one where it is mapped into IPv6; None for any other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if "%" in text else address.ipv4_mapped or address
    return address


def outside_address(text: str, overlay: Iterable[IPv6Network] = ()) -> Address | None:
    """The address if other hosts may reach one there, None else.

    That is none that means something else on each host, or nothing, and none within the overlay, whose packets
    would go round in their own tunnel.
    """
    address = read_address(text)
    if address is None or _is_special(address) or any(address in network for network in overlay):
        return None
    return address


def follow(before: tuple[Address, ...], found: Iterable[Address]) -> tuple[Address, ...]:
    """What was found, the addresses known before first and in their order: another order would be another entry.

    Where nothing was found, those of before stand.
    """
    now = dict.fromkeys(found)
    return tuple(dict.fromkeys([*(address for address in before if address in now), *now])) or before


def believe(before: tuple[Address, ...], said: Mapping[bytes, Address], peers: int) -> tuple[Address, ...]:
    """The addresses to use by what peers (node keys) say now, best first; `before` are those used until now.

    Enough are two, or the only one of `peers` that there is. An address of before stands until there is another of its
    family that enough peers say. Where none was known, all have spoken and no two agree, a family of which all say
    the same is believed: each may see this node by another one. Those that are valid everywhere come first.
    """
    votes: dict[Address, int] = {}
    for address in said.values():
        votes[address] = votes.get(address, 0) + 1
    good = {address for address in votes if votes[address] >= min(QUORUM, max(peers, 1))}
    if not good and not before and len(said) >= peers:
        good = {address for address in votes if not any(_differs(address, other) for other in votes)}
    families = {address.version for address in good}
    kept = [address for address in before if address in good or address.version not in families]
    new = sorted(good.difference(kept), key=lambda address: (-votes[address], -address.version, int(address)))
    return tuple(sorted([*kept, *new], key=lambda address: not address.is_global))


def _differs(address: Address, other: Address) -> bool:
    return address != other and address.version == other.version


def _is_special(address: Address) -> bool:
    return (
        address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
    )
