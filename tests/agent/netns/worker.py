"""Runs in a host: the dataplane of one agent, told by the test over a pipe what to do."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "roles/smegmesh/files/smegmesh/src"))

from inside import serve

from smegmesh.dataplane import firewall, forwarding
from smegmesh.dataplane.launcher import ProcessLauncher
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, Endpoint
from smegmesh.dataplane.probe import Prober
from smegmesh.dataplane.reconcile import Reconciler
from smegmesh.dataplane.system import LinuxSystem, mesh_mtu
from smegmesh.dataplane.userspace import UserspacePlane
from smegmesh.routing.plan import Plan, PlanChange
from smegmesh.routing.tables import Forwarding


class Worker:
    """What a test may ask for; the names are those of the calls over the pipe."""

    def __init__(self, device: str, private_key: bytes, port: int, mark: int) -> None:
        self.device = device
        self.system = LinuxSystem()
        settings = DeviceSettings(private_key, port, mark)
        mtu = mesh_mtu(self.system.underlay_mtu([]))
        self.reconciler = Reconciler(UserspacePlane(ProcessLauncher()), self.system, device, settings, mtu)

    def bring_up(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> bool:
        self.plan, self.endpoints = plan, endpoints
        return self.reconciler.bring_up(plan, endpoints)

    def apply(self, plan: Plan, endpoints: Mapping[str, Endpoint]) -> int:
        change = PlanChange(plan.address, {**dict.fromkeys(self.plan.peers), **plan.peers}, plan.routes)
        self.plan, self.endpoints = plan, endpoints
        return len(self.reconciler.apply(change, endpoints))

    def check(self) -> list[str]:
        return self.reconciler.check(self.plan, self.endpoints)

    def renew(self, key: bytes) -> None:
        self.reconciler.renew(key)

    def state(self) -> DeviceState:
        return self.reconciler.state()

    def take_down(self) -> None:
        self.reconciler.take_down()

    def has_link(self) -> bool:
        return self.system.link(self.device) is not None

    def underlay_mtu(self, *hosts: str) -> int:
        return self.system.underlay_mtu(hosts)

    def enable_forwarding(self) -> dict[str, str]:
        return forwarding.enable_forwarding()

    def restore_forwarding(self, before: dict[str, str]) -> None:
        forwarding.restore_forwarding(before)

    def install_firewall(self) -> None:
        firewall.install({self.device: Forwarding()})

    def remove_firewall(self) -> None:
        firewall.remove()

    def foreign_drops(self) -> list[str]:
        return firewall.foreign_drops()

    def probe(self, targets: list[tuple[bytes, IPv6Address]], rounds: int) -> list[tuple[bytes, bool]]:
        """Answers to that many echoes to each target."""
        return asyncio.run(self._probe(targets, rounds))

    async def _probe(self, targets: list[tuple[bytes, IPv6Address]], rounds: int) -> list[tuple[bytes, bool]]:
        results: list[tuple[bytes, bool]] = []
        enough = asyncio.Event()

        def note(key: bytes, answered: bool, _sent: float) -> None:
            results.append((key, answered))
            if len(results) >= rounds * len(targets):
                enough.set()

        prober = Prober(self.device, note, timeout=0.3)
        prober.watch(targets, 0.3)
        try:
            await asyncio.wait_for(enough.wait(), 5)
        finally:
            prober.close()
        return results


if __name__ == "__main__":
    worker = Worker(*pickle.load(sys.stdin.buffer))
    serve(lambda name, arguments: getattr(worker, name)(*arguments))
