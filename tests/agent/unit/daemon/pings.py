"""Pings that are the test's: who is pinged, and whether it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address


class Pings:
    """Stands for the prober."""

    def __init__(self, _device: str | None, callback: Callable[[bytes, bool, float], None], **_settings: float) -> None:
        self.answer = callback
        self.targets: set[bytes] = set()

    def watch(self, targets: Iterable[tuple[bytes, IPv6Address]], _pause: float) -> None:
        self.targets = {key for key, _address in targets}

    def close(self) -> None:
        self.targets = set()
