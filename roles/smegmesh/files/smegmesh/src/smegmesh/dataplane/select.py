"""Which plane this host can have."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from smegmesh.dataplane.kernel import KernelPlane
from smegmesh.dataplane.launcher import PROGRAM, Launcher
from smegmesh.dataplane.memory import MemoryPlane
from smegmesh.dataplane.plane import Plane, PlaneError
from smegmesh.dataplane.userspace import UserspacePlane

CHOICES = ("auto", "kernel", "userspace", "memory")


def choose_plane(
    wanted: str,
    launcher: Launcher,
    *,
    kernel_can: Callable[[], bool] | None = None,
    userspace_can: Callable[[], bool] | None = None,
) -> Plane:
    """The plane asked for; for `auto` the kernel's where it can, else userspace.

    PlaneError if there is none, or no such choice.
    """
    if wanted not in CHOICES:
        raise PlaneError(f"plane {wanted!r} is unknown: use one of {', '.join(CHOICES)}")
    if wanted == "memory":
        return MemoryPlane()
    if wanted == "kernel" or (wanted == "auto" and (kernel_can or kernel_has_wireguard)()):
        return KernelPlane()
    if wanted == "userspace" or (userspace_can or has_wireguard_go)():
        return UserspacePlane(launcher)
    raise PlaneError(
        f"no WireGuard here: the kernel has none and {PROGRAM} is not installed: "
        "load the module wireguard, or install the package wireguard-go"
    )


def has_wireguard_go() -> bool:
    """Is the userspace program installed? Its tunnel device is for its own unit to see, not for a sandboxed agent."""
    return shutil.which(PROGRAM) is not None


def kernel_has_wireguard() -> bool:
    """Can the kernel make a WireGuard interface? Tries it (which may load the module) and takes it away."""
    name = f"smegtry{os.getpid() % 10**7}"
    with IPRoute() as route:
        try:
            route.link("add", ifname=name, kind="wireguard")
        except NetlinkError:
            return False
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)
    return True
