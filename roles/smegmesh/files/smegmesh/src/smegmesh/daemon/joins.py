"""Requests to join that wait for an operator, and how often one may ask. Pure: `now` comes in, monotonic seconds.

They come from whoever reaches the port, so there is a bound to everything, and nothing of it is written to disk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network, ip_address

from smegmesh.control.errors import Rejected
from smegmesh.identity.joining import Join

_SITE = 64  # bits; who has one IPv6 address has as many as it likes in such a network


@dataclass(frozen=True, slots=True)
class Limits:
    """Requests that wait, of one source at most so many, and `approved` others whose certificates are here; each is
    kept for `kept` seconds. Of each of `sources` at a time one connection in `pause` seconds. `rejected`: how many
    rejections are remembered."""

    pending: int = 32
    approved: int = 256
    per_source: int = 4
    kept: float = 24 * 3600.0
    pause: float = 10.0
    sources: int = 256
    rejected: int = 256


@dataclass(frozen=True, slots=True)
class Pending:
    """A request, where it came from, when, and the certificate (PEM) that answers it, if there is one."""

    join: Join
    source: str
    since: float
    certificate: bytes | None = field(default=None, repr=False)


class Pace:
    """One connection of a source in a while, and of so many sources at most in that time."""

    def __init__(self, pause: float, sources: int) -> None:
        self._pause = pause
        self._sources = sources
        self._last: OrderedDict[str, float] = OrderedDict()  # the oldest first

    def admit(self, address: str, now: float) -> bool:
        """Whether an IP address may connect now."""
        while self._last and next(iter(self._last.values())) <= now - self._pause:
            self._last.popitem(last=False)
        source = source_of(address)
        if source in self._last or len(self._last) >= self._sources:
            return False
        self._last[source] = now
        return True


class Joins:
    """The requests by fingerprint."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending: dict[bytes, Pending] = {}
        self._rejected: OrderedDict[bytes, None] = OrderedDict()

    def ask(self, join: Join, address: str, now: float) -> tuple[Pending, bool]:
        """What became of a request, and whether it is new and waits from now on. Rejected says why it does not."""
        if join.fingerprint in self._rejected:
            raise Rejected("an operator has rejected this request", "ask the operator of the peer")
        known = next((each for each in self.pending(now) if each.join.fingerprint == join.fingerprint), None)
        if known is not None:
            return known, False
        self._bound_approved()
        source = source_of(address)
        waiting = [each.source for each in self._pending.values() if each.certificate is None]
        if waiting.count(source) >= self._limits.per_source:
            what = f"{self._limits.per_source} requests of {source} wait already"
            raise Rejected(what, "have those approved or rejected first")
        if len(waiting) >= self._limits.pending:
            raise Rejected(f"{self._limits.pending} requests wait already", "have some approved or rejected first")
        pending = self._pending[join.fingerprint] = Pending(join, source, now)
        return pending, True

    def approved(self, fingerprint: bytes, now: float) -> bool:
        """Whether the certificate for a request is here."""
        return any(each.join.fingerprint == fingerprint and each.certificate for each in self.pending(now))

    def enrolled(self, join: Join, address: str, now: float, certificate: bytes) -> Pending:
        """A request that is approved as it comes. Tokens are few, so it needs no place among those that wait."""
        self._rejected.pop(join.fingerprint, None)
        self._pending.pop(join.fingerprint, None)  # it is the newest now
        pending = self._pending[join.fingerprint] = Pending(join, source_of(address), now, certificate)
        self._bound_approved()
        return pending

    def pending(self, now: float) -> list[Pending]:
        """Those that are not too old, the oldest first; the others are gone."""
        for each in list(self._pending.values()):
            if now - each.since > self._limits.kept:
                del self._pending[each.join.fingerprint]
        return list(self._pending.values())

    def approve(self, fingerprint: bytes, certificate: bytes) -> None:
        """Keep the certificate for whoever asks again with that request."""
        self._pending[fingerprint] = replace(self._pending[fingerprint], certificate=certificate)

    def keep(self, meshes: Collection[str]) -> None:
        """Drop those that wait to join any other mesh: it has gone, and nobody could approve them."""
        self._pending = {
            key: each for key, each in self._pending.items() if each.join.mesh in meshes or each.certificate is not None
        }

    def reject(self, fingerprint: bytes) -> None:
        """Drop a request and take it no more; KeyError if there is none."""
        del self._pending[fingerprint]
        self._rejected[fingerprint] = None
        if len(self._rejected) > self._limits.rejected:
            self._rejected.popitem(last=False)

    def _bound_approved(self) -> None:
        """Let the oldest go that are approved: who has not fetched its certificate asks anew."""
        approved = [key for key, each in self._pending.items() if each.certificate is not None]
        for key in approved[: max(0, len(approved) - self._limits.approved)]:
            del self._pending[key]


def source_of(address: str) -> str:
    """Whom an IP address stands for: itself, or for IPv6 its network of 64 bits."""
    parsed = ip_address(address.partition("%")[0])
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((parsed, _SITE), strict=False))
