"""The userspace plane: WireGuard in a process of its own (wireguard-go), driven over UAPI."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from smegmesh.dataplane.launcher import SOCKET_DIRECTORY, Launcher, answers, socket_path
from smegmesh.dataplane.plane import DeviceSettings, DeviceState, PeerChange, PlaneError
from smegmesh.dataplane.port import port_refusal
from smegmesh.dataplane.uapi import UapiError, call, encode_changes, parse_device
from smegmesh.identity.keys import public_key


class UserspacePlane:
    """Devices behind control sockets in `directory`; a socket that answers is adopted."""

    name = "userspace"

    def __init__(self, launcher: Launcher, directory: Path = SOCKET_DIRECTORY) -> None:
        self._launcher = launcher
        self._directory = directory

    def create(self, device: str) -> bool:
        if answers(socket_path(self._directory, device)):
            return False
        self._launcher.start(device)
        return True

    def delete(self, device: str) -> None:
        if answers(socket_path(self._directory, device)):
            self._launcher.stop(device)

    def configure(self, device: str, settings: DeviceSettings) -> None:
        # Only what differs: setting a port again, even to the same, makes a new socket and may lose packets.
        state = self.dump(device)
        lines = []
        if public_key(settings.private_key) != state.public_key:
            lines.append(f"private_key={settings.private_key.hex()}")
        if settings.fwmark != state.fwmark:
            lines.append(f"fwmark={settings.fwmark}")
        if settings.listen_port != state.listen_port:
            self._set_port(device, settings.listen_port, state.listen_port)
        if lines:
            self._set(device, lines)

    def apply(self, device: str, changes: Sequence[PeerChange]) -> None:
        if changes:
            self._set(device, list(encode_changes(changes)))

    def dump(self, device: str) -> DeviceState:
        return parse_device(call(socket_path(self._directory, device), ["get=1"]))

    def _set_port(self, device: str, port: int, old: int) -> None:
        # A device that is not up yet takes any port and fails silently later, so look first.
        refusal = port_refusal(port)
        if refusal == errno.EADDRINUSE:
            raise _port_in_use(device, port)
        if refusal is not None:
            raise PlaneError(f"{device}: UDP port {port} cannot be had: {os.strerror(refusal)}: choose another port")
        try:
            self._set(device, [f"listen_port={port}"])
        except UapiError as error:
            if error.code != errno.EADDRINUSE:
                raise
            # The device has lost its port over this.
            self._set(device, [f"listen_port={old}"])
            raise _port_in_use(device, port) from error

    def _set(self, device: str, lines: list[str]) -> None:
        call(socket_path(self._directory, device), ["set=1", *lines])


def _port_in_use(device: str, port: int) -> PlaneError:
    return PlaneError(f"{device}: UDP port {port} is in use: choose another port or stop its user (ss -lunp)")
