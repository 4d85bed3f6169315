"""What meshes that are declared no more, or otherwise, have left on the host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from smegmesh.daemon.host import Host
from smegmesh.daemon.threads import in_thread
from smegmesh.dataplane.plane import Plane, PlaneError
from smegmesh.declaration.write import forget_fragments
from smegmesh.store import Device, StoreError
from smegmesh.store.static_keys import drop_static_keys


class Leftovers:
    """Takes them away. What cannot be is told to `problem`, and tried again at the next reload.

    `plane_named` makes any plane by its name: devices of an earlier choice are taken down with it.
    """

    def __init__(self, host: Host, plane_named: Callable[[str], Plane], problem: Callable[[Exception], None]) -> None:
        self._host = host
        self._plane_named = plane_named
        self._problem = problem

    async def take_down(self, wanted: Mapping[str, str], gone: Callable[[str], bool]) -> set[str]:
        """Remove the interfaces that were made here for other meshes, by other names or by another plane; which.

        `wanted` has the interface of each mesh that is declared. Of one that is not, all goes if it is `gone`, else
        nothing.
        """
        taken_down = set()
        for device in self._host.store.devices():
            declared = device.mesh in wanted
            if not declared and not gone(device.mesh):
                continue
            if not declared or device.plane != self._host.plane.name or device.name != wanted[device.mesh]:
                if await self._take_down(device):
                    taken_down.add(device.name)
                if not declared:
                    self.forget(device.mesh)
                    self._forget_static_keys(device.mesh)
        return taken_down

    def forget(self, mesh: str) -> None:
        """Drop what is stored of a mesh."""
        try:
            self._host.store.forget(mesh)
        except StoreError as error:
            self._problem(error)

    async def forget_fragments(self, keep: Collection[str]) -> None:
        """What the host added to meshes that it is not in any more goes, but for these."""
        try:
            await in_thread(forget_fragments, self._host.directories.local, keep)
        except OSError as error:
            self._problem(error)

    async def _take_down(self, device: Device) -> bool:
        try:
            await in_thread(lambda: self._plane_named(device.plane).delete(device.name))
            self._host.store.forget_device(device.name)
        except (PlaneError, StoreError, OSError) as error:
            self._problem(error)
            return False
        return True

    def _forget_static_keys(self, mesh: str) -> None:
        try:
            drop_static_keys(self._host.directories.state, mesh, ())
        except OSError as error:
            self._problem(error)
