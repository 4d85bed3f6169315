"""Pings that are the test's: who is pinged, and whether it answers."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from ipaddress import IPv6Address


class Pings:
    """Stands for the prober."""

    def __init__(self, _device: str | None, callback: Callable[[bytes, bool, float], None], **_settings: float) -> None:
        self.answer = callback
        self.targets: set[bytes] = set()
        self.at_once: list[bytes] = []  # besides the rounds

    def watch(self, targets: Iterable[tuple[bytes, IPv6Address]], _pause: float) -> None:
        before, self.targets = self.targets, {key for key, _address in targets}
        self.at_once += sorted(self.targets - before)

    def ping(self, keys: Container[bytes]) -> None:
        self.at_once += sorted(key for key in self.targets if key in keys)

    def close(self) -> None:
        self.targets = set()
