"""What all meshes of a host share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from smegmesh.daemon.hooks import Runner
from smegmesh.daemon.resolver import Resolver
from smegmesh.daemon.routes import Routes
from smegmesh.dataplane.plane import Plane
from smegmesh.dataplane.system import System
from smegmesh.gossip.view import View
from smegmesh.identity.certificate import Authority
from smegmesh.identity.clock import CertificateClock
from smegmesh.store import Store, StoreDamaged
from smegmesh.store.keys import KEYS_DIRECTORY, HostKeys
from smegmesh.transport.links import Links


@dataclass(frozen=True, slots=True)
class Directories:
    """Where the agent's files are: configuration, state, and what lives until the next boot."""

    etc: Path = Path("/etc/smegmesh")
    state: Path = Path("/var/lib/smegmesh")
    run: Path = Path("/run/smegmesh")

    @property
    def local(self) -> Path:
        """Declarations made on this host by hand."""
        return self.state / "local.d"

    @property
    def identity_key(self) -> Path:
        """The key file TLS reads."""
        return self.state / KEYS_DIRECTORY / "identity.key"


@dataclass(slots=True)
class Host:
    """The services and facts a mesh runs on. `clock` is monotonic seconds. Only `keys` is ever another, by a rotation.

    `forwards` says whether it forwards at all, as far as is known. Without `tunnels` the plane carries no packets, so
    there is nothing to probe. `viewed` is told each new view of a mesh. `give_up` ends the agent: the manager starts it
    again, and the start mends what this run
    cannot.
    """

    directories: Directories
    link_port: int
    keys: HostKeys = field(repr=False)
    store: Store
    links: Links
    plane: Plane
    system: System
    tunnels: bool
    routes: Routes
    forwards: Callable[[], bool]
    resolver: Resolver
    run_hook: Runner
    clock: Callable[[], float]
    give_up: Callable[[StoreDamaged], None]
    viewed: Callable[[View], None]
    certificate_clocks: dict[bytes, CertificateClock] = field(default_factory=dict)

    def clock_of(self, authority: Authority) -> CertificateClock:
        """The wall clock for an authority's certificates, shared by its meshes."""
        return self.certificate_clocks.setdefault(authority.fingerprint, CertificateClock(time.time))
