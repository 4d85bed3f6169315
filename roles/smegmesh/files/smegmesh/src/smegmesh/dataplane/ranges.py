"""Which addresses a set of nested prefixes decides about, the longest prefix having the word. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TypeVar

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """Addresses from `first` to `last`, both in it, as numbers. Its text is what nft reads."""

    first: int
    last: int

    def __str__(self) -> str:
        first, last = IPv6Address(self.first), IPv6Address(self.last)
        return str(first) if first == last else f"{first}-{last}"


def longest_matches(prefixes: Mapping[IPv6Network, _Value]) -> Iterator[tuple[Range, _Value]]:
    """Every address that is in a prefix, with the value of the longest one it is in; ascending, as few as can be."""
    found: tuple[Range, _Value] | None = None
    for piece, value in _pieces(prefixes):
        if found is not None and found[1] == value and found[0].last + 1 == piece.first:
            found = Range(found[0].first, piece.last), value
        else:
            if found is not None:
                yield found
            found = piece, value
    if found is not None:
        yield found


def union(ranges: Iterable[Range]) -> list[Range]:
    """The addresses of all of them; ascending, as few as can be."""
    merged: list[Range] = []
    for found in sorted(ranges):
        if merged and found.first <= merged[-1].last + 1:
            merged[-1] = Range(merged[-1].first, max(merged[-1].last, found.last))
        else:
            merged.append(found)
    return merged


def _pieces(prefixes: Mapping[IPv6Network, _Value]) -> Iterator[tuple[Range, _Value]]:
    # Prefixes are disjoint or nested, so those that hold the present address are a stack, the longest on top.
    around: list[tuple[int, _Value]] = []
    at = 0
    for prefix in sorted(prefixes):
        first = int(prefix.network_address)
        while around and around[-1][0] < first:
            last, value = around.pop()
            if at <= last:
                yield Range(at, last), value
                at = last + 1
        if around and at < first:
            yield Range(at, first - 1), around[-1][1]
        at = first
        around.append((int(prefix.broadcast_address), prefixes[prefix]))
    while around:
        last, value = around.pop()
        if at <= last:
            yield Range(at, last), value
            at = last + 1
