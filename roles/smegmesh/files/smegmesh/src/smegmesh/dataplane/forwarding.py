"""Turning IPv6 forwarding on without locking a host out, and off again.

A host that gets its default route from router advertisements drops it when it starts to
forward, unless accept_ra is 2 (kernel: Documentation/networking/ip-sysctl.rst). So every
accept_ra of 1 becomes 2 first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from smegmesh.dataplane.plane import PlaneError

SYSCTLS = Path("/proc/sys")
_CONF = "net/ipv6/conf"
_FORWARDING = f"{_CONF}/all/forwarding"


def enable_forwarding(root: Path = SYSCTLS) -> dict[str, str]:
    """Turn forwarding on; the values before, by sysctl path, of what was changed.

    Nothing is changed when forwarding is on already and no accept_ra is 1: whoever set it up
    so keeps it. Keep the answer (of several calls, the oldest value of each) for
    `restore_forwarding`. PlaneError if a sysctl cannot be written; then all are as before.
    """
    wanted = {
        f"{_CONF}/{interface.name}/accept_ra": "2"
        for interface in sorted((root / _CONF).iterdir())
        if interface.name != "all" and _read(root, f"{_CONF}/{interface.name}/accept_ra") == "1"
    }
    if _read(root, _FORWARDING) == "0":
        wanted[_FORWARDING] = "1"
    before: dict[str, str] = {}
    try:
        for name, value in wanted.items():
            old = _read(root, name)
            if old is None:  # the interface has gone since
                continue
            _write(root, name, value)
            before[name] = old
    except PlaneError:
        restore_forwarding(before, root)
        raise
    return before


def restore_forwarding(before: Mapping[str, str], root: Path = SYSCTLS) -> None:
    """Undo `enable_forwarding`: forwarding first, then accept_ra of interfaces that still are as it left them."""
    for name in sorted(before, key=lambda name: name != _FORWARDING):
        ours = "1" if name == _FORWARDING else "2"
        if _read(root, name) == ours:
            _write(root, name, before[name])


def _read(root: Path, name: str) -> str | None:
    try:
        return (root / name).read_text().strip()
    except OSError:
        return None


def _write(root: Path, name: str, value: str) -> None:
    try:
        (root / name).write_text(value)
    except OSError as error:
        raise PlaneError(
            f"sysctl {name.replace('/', '.')} cannot be set to {value}: {error.strerror}: "
            "the agent needs CAP_NET_ADMIN and a writable /proc/sys/net"
        ) from error
