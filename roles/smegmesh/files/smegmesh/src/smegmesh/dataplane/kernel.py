"""The kernel plane: WireGuard devices of the running kernel, through netlink.

Each call opens its own socket, so it works in the network namespace of the thread
that calls. Links are made and removed here; addresses and routes are not.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct

from smegmesh.dataplane import wireguard_messages as wireguard
from smegmesh.dataplane.netlink import (
    CREATE,
    EXCLUSIVE,
    GENERIC,
    NESTED,
    ROUTE,
    Connection,
    NetlinkError,
    attribute,
    attributes,
    connection,
)
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, PeerChange, PlaneError
from smegmesh.dataplane.port import port_refusal

KIND = "wireguard"
NAME_LIMIT = 15

_NEW_LINK, _DELETE_LINK, _GET_LINK = 16, 17, 18
_LINK_NAME, _LINK_INFO, _LINK_SEND_QUEUES = 3, 18, 31
_INFO_KIND = 1
_LINK_HEADER = Struct("=BxHiII")
_NO_LINK_HEADER = bytes(_LINK_HEADER.size)
_UP = 1
_TOO_MANY_QUEUES = 1 << 16

_CONTROL, _CONTROL_VERSION, _GET_FAMILY = 16, 1, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2

_REASONS = {
    errno.ENODEV: "there is no such link; create it first",
    errno.EPERM: "not permitted; it takes CAP_NET_ADMIN",
    errno.EOPNOTSUPP: "it is no WireGuard link; choose another name",
    errno.ENOENT: "this kernel has no WireGuard; load its module or choose the userspace plane",
}


def available() -> bool:
    """Whether the running kernel makes WireGuard links for us; none is made to find out.

    The kernel is asked for one with more queues than it allows. It says so only if we may
    make links and if it knows the kind, for which it loads the module where it is one.
    """
    name = "smeg" + secrets.token_hex(5)
    queues = attribute(_LINK_SEND_QUEUES, Struct("=I").pack(_TOO_MANY_QUEUES))
    try:
        with connection(ROUTE) as route:
            try:
                route.request(_NEW_LINK, [_new_link(name) + queues], CREATE | EXCLUSIVE)
            except NetlinkError as error:
                return error.errno == errno.EINVAL
            route.request(_DELETE_LINK, [_NO_LINK_HEADER + _link_name(name)])
            return True
    except OSError:
        return False


class KernelPlane:
    """The Plane of the running kernel."""

    name = "kernel"

    def create(self, device: str) -> bool:
        """Make the device unless it exists (then adopt it). True if it was made.

        PlaneError if its name cannot be one, a link of another kind has it, or the kernel
        has no WireGuard.
        """
        if not 0 < len(device.encode()) <= NAME_LIMIT:
            raise PlaneError(f"interface {device!r}: a name is 1 to {NAME_LIMIT} bytes; choose a shorter one")
        with _explained("create", device), connection(ROUTE) as route:
            try:
                route.request(_NEW_LINK, [_new_link(device)], CREATE | EXCLUSIVE)
                return True
            except NetlinkError as error:
                if error.errno == errno.EOPNOTSUPP:
                    raise NetlinkError(errno.ENOENT, str(error)) from error
                if error.errno != errno.EEXIST:
                    raise
            _own_link(route, device)
            return False

    def delete(self, device: str) -> None:
        """Take the device away with all its peers; nothing happens if there is none.

        PlaneError if the name is another kind of link's: that one stays.
        """
        with _explained("delete", device), connection(ROUTE) as route:
            if _own_link(route, device) is None:
                return
            try:
                # The kernel takes milliseconds for each peer that a link still has when it goes.
                _set_device([wireguard.remove_all_peers(device)])
                route.request(_DELETE_LINK, [_NO_LINK_HEADER + _link_name(device)])
            except NetlinkError as error:
                if error.errno != errno.ENODEV:
                    raise

    def configure(self, device: str, settings: DeviceSettings) -> None:
        """Set key, port and mark; PlaneError if the port is in use (then nothing is changed)."""
        with _explained("configure", device):
            # The port first and by itself: it alone can be refused.
            _set_listen_port(device, settings.listen_port)
            _set_device([wireguard.set_keys_and_mark(device, settings)])

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        """Carry out changes in order, batched; two to three times faster while the link is down."""
        with _explained("change peers", device):
            # All encoded before any is sent: a change that cannot be said leaves the device as it was.
            _set_device(list(wireguard.set_peers(device, changes)))

    def dump(self, device: str) -> DeviceState:
        """The device as it is now; PlaneError if there is none."""
        reader = wireguard.DeviceReader()
        with _explained("dump", device), connection(GENERIC) as generic:
            family = _family(generic)
            for answer in generic.dump(family, wireguard.get_device(device)):
                if answer.kind == family:
                    reader.read(answer.payload)
            return reader.state()


@contextmanager
def _explained(action: str, device: str) -> Iterator[None]:
    """Turn what goes wrong inside into a PlaneError that names device, action and way out."""
    try:
        yield
    except NetlinkError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror)
        raise PlaneError(f"interface {device}: cannot {action}: {reason}") from error
    except (OSError, ValueError) as error:
        raise PlaneError(f"interface {device}: cannot {action}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Link:
    kind: str
    up: bool


def _own_link(route: Connection, device: str) -> _Link | None:
    """The link of that name, None if there is none. PlaneError if it is of another kind."""
    try:
        answers = route.query(_GET_LINK, _NO_LINK_HEADER + _link_name(device))
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    payload = next(answer.payload for answer in answers if answer.kind == _NEW_LINK)
    link = _read_link(payload)
    if link.kind != KIND:
        raise PlaneError(
            f"interface {device}: the name is taken by a link of kind {link.kind}, which is left alone;"
            " choose another name"
        )
    return link


def _read_link(payload: memoryview) -> _Link:
    _family, _kind, _index, flags, _change = _LINK_HEADER.unpack_from(payload)
    parts = dict(attributes(payload[_LINK_HEADER.size :]))
    info = dict(attributes(parts.get(_LINK_INFO, memoryview(b""))))
    kind = bytes(info.get(_INFO_KIND, memoryview(b"hardware")))
    return _Link(kind.rstrip(b"\0").decode(), bool(flags & _UP))


def _new_link(device: str) -> bytes:
    info = attribute(_INFO_KIND, KIND.encode() + b"\0")
    return _NO_LINK_HEADER + _link_name(device) + attribute(_LINK_INFO | NESTED, info)


def _link_name(device: str) -> bytes:
    return attribute(_LINK_NAME, device.encode() + b"\0")


def _family(generic: Connection) -> int:
    """The number that the running kernel gave WireGuard's family. NetlinkError ENOENT if it has none."""
    header = Struct("=BBxx").pack(_GET_FAMILY, _CONTROL_VERSION)
    answers = generic.query(_CONTROL, header + attribute(_FAMILY_NAME, wireguard.FAMILY.encode() + b"\0"))
    payload = next(answer.payload for answer in answers if answer.kind == _CONTROL)
    (number,) = Struct("=H").unpack(dict(attributes(payload[len(header) :]))[_FAMILY_ID])
    return int(number)


def _set_device(payloads: Sequence[bytes]) -> None:
    with connection(GENERIC) as generic:
        generic.request(_family(generic), payloads)


def _set_listen_port(device: str, port: int) -> None:
    """Set the port; PlaneError if it is in use."""
    with connection(ROUTE) as route:
        link = _own_link(route, device)
    # A link that is down would take any port now and could not go up later. Another refusal (no IPv6
    # here, a port that only binding takes a privilege for) is not WireGuard's.
    if link is not None and not link.up and port_refusal(port) == errno.EADDRINUSE:
        raise _port_in_use(device, port)
    try:
        _set_device([wireguard.set_listen_port(device, port)])
    except NetlinkError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _port_in_use(device, port) from error


def _port_in_use(device: str, port: int) -> PlaneError:
    return PlaneError(f"interface {device}: UDP port {port} is in use; choose another one for it, or end what holds it")
