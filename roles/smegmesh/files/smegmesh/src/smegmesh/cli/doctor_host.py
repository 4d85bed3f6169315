"""What the doctor reads of the host itself: certificates, sysctls, the nft ruleset, what its resolver says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from smegmesh.doctor.facts import Certificate, Unseen
from smegmesh.identity.certificate import Authority, CertificateError, leaf_der

_SYSCTLS = Path("/proc/sys/net")
_COUNTERS = Path("/proc/net/netstat")
_LEGACY = Path("/proc/net/ip6_tables_names")
_NFT_SECONDS = 2.0
_STRICT = 1  # of rp_filter; 2 is loose (kernel: Documentation/networking/ip-sysctl.rst)


def certificates(directory: Path) -> Iterator[Certificate | Unseen]:
    """An authority's certificate and the host's own under it. One that is damaged keeps the mesh from coming up."""
    authority_file, node_file = directory / "authority.pem", directory / "node.pem"
    try:
        authority = Authority(authority_file.read_bytes())
        yield Certificate(str(authority_file), "authority", authority.not_before, authority.not_after)
        node = authority.verify(leaf_der(node_file.read_bytes()))
        yield Certificate(str(node_file), "host", node.not_before, node.not_after)
    except (CertificateError, OSError) as error:
        yield Unseen("certificates", f"{directory}: {error}")


def forwarding() -> bool | None:
    """Whether the host forwards IPv6."""
    value = _sysctl("ipv6/conf/all/forwarding")
    return None if value is None else value != 0


def strict_interfaces(meshes: Collection[str]) -> tuple[str, ...]:
    """The interfaces of the underlay whose IPv4 reverse path filter is strict, by their own value or that of `all`."""
    every = _sysctl("ipv4/conf/all/rp_filter") or 0
    names = sorted(path.name for path in (_SYSCTLS / "ipv4/conf").glob("*"))
    return tuple(
        name
        for name in names
        if name not in ("all", "default", "lo", *meshes)
        and max(every, _sysctl(f"ipv4/conf/{name}/rp_filter") or 0) == _STRICT
    )


def reversed_packets() -> int:
    """How many packets the reverse path filter has dropped since the boot."""
    try:
        lines = _COUNTERS.read_text().splitlines()
    except OSError:
        return 0
    for head, values in zip(lines[::2], lines[1::2], strict=False):
        counters = dict(zip(head.split(), values.split(), strict=False))
        if "IPReversePathFilter" in counters:
            return int(counters["IPReversePathFilter"])
    return 0


def ruleset() -> tuple[dict[str, Any] | None, tuple[Unseen, ...]]:
    """The nft ruleset as JSON, and what could not be seen of the firewall."""
    if os.geteuid() != 0:
        return None, (Unseen("firewall", "only root may read it: run it as root (sudo smegctl doctor)"),)
    if shutil.which("nft") is None:
        return None, (Unseen("firewall", "nft is not installed: install the package nftables"),)
    try:
        command = ["nft", "-j", "list", "ruleset"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_NFT_SECONDS, check=True)
        listing = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return None, (Unseen("firewall", f"nft does not list it: {error}"),)
    return listing, _legacy()


def _legacy() -> tuple[Unseen, ...]:
    try:
        in_use = "filter" in _LEGACY.read_text().split()
    except OSError:
        return ()
    why = "its rules are not among those of nft: see `ip6tables-legacy -S FORWARD`"
    return (Unseen("firewall of ip6tables-legacy", why),) if in_use else ()


def resolve(name: str) -> str | None:
    """What the host's resolver says of a name; None if it does not know it."""
    try:
        return str(socket.getaddrinfo(name, None, socket.AF_INET6)[0][4][0])
    except OSError:
        return None


def _sysctl(name: str) -> int | None:
    try:
        return int((_SYSCTLS / name).read_text())
    except (OSError, ValueError):
        return None
