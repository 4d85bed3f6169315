"""Which plane this host can have."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from smegmesh.dataplane.kernel import KernelPlane, available
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
    if wanted == "kernel" or (wanted == "auto" and (kernel_can or available)()):
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
