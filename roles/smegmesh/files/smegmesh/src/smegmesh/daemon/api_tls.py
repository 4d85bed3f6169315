"""With what the API over TLS shows and trusts: the certificates of the meshes that run."""

from __future__ import annotations

from collections.abc import Iterable

from smegmesh.control.tls import ApiTls
from smegmesh.daemon.host import Host
from smegmesh.daemon.mesh import Mesh


def api_tls(host: Host, meshes: Iterable[Mesh]) -> ApiTls | None:
    """What the API shows, and the authorities of these meshes; None without any.

    A client cannot say which authority it trusts, so the certificate is always that of the first one by name.
    """
    held = {mesh.declaration.authority: mesh.credentials for mesh in meshes}
    if not held:
        return None
    first = held[min(held)]
    authorities = [held[name].authority for name in sorted(held)]
    return ApiTls(
        certificate_file=first.certificate_file,
        key_file=host.directories.identity_key,
        certificate=first.certificate.der,
        trusted=tuple((authority, host.clock_of(authority)) for authority in authorities),
    )
