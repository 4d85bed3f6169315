"""Starting and stopping the process behind a userspace device.

The process outlives the agent, so that a restart of the agent loses no packet. A socket that
answers is a device that runs.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Protocol

from smegmesh.dataplane.plane import PlaneError
from smegmesh.dataplane.watch import wait_until

SOCKET_DIRECTORY = Path("/run/wireguard")
REQUEST_DIRECTORY = Path("/run/smegmesh/devices")
PROGRAM = "wireguard-go"
_TIMEOUT = 10.0


class Launcher(Protocol):
    """Starts and stops devices. Both calls return when it is done, PlaneError when it is not in time."""

    def start(self, device: str) -> None:
        """Start the device; its socket answers when this returns."""

    def stop(self, device: str) -> None:
        """Stop the device; its socket answers no more when this returns."""


def socket_path(directory: Path, device: str) -> Path:
    """Where a device's control socket is. PlaneError for what cannot be an interface's name."""
    if not 0 < len(device.encode()) < 16 or "/" in device or device in (".", "..") or any(map(str.isspace, device)):
        raise PlaneError(f"{device!r} cannot be an interface's name: use 1 to 15 characters without '/' and blanks")
    return directory / f"{device}.sock"


def answers(path: Path) -> bool:
    """Does a device listen on its socket? A crash leaves the file behind without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except PermissionError as error:
            raise PlaneError(
                f"{path} is not ours to use: {error.strerror}: its owner must be the agent's user"
            ) from error
        return True


def _exists(device: str) -> bool:
    try:
        socket.if_nametoindex(device)
    except OSError:
        return False
    return True


class ProcessLauncher:
    """Starts wireguard-go itself, where no systemd does. Needs CAP_NET_ADMIN and /dev/net/tun."""

    def __init__(self, directory: Path = SOCKET_DIRECTORY, program: str = PROGRAM) -> None:
        self._directory = directory
        self._program = program

    def start(self, device: str) -> None:
        path = socket_path(self._directory, device)
        # It opens tunnel and socket, leaves them to a child in the background and ends.
        try:
            done = subprocess.run(
                [self._program, device],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                # Asked to log, the child would keep our pipe open for ever.
                env={name: value for name, value in os.environ.items() if name != "LOG_LEVEL"},
                start_new_session=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise PlaneError(f"{device}: {self._program} is not installed: install the package wireguard-go") from error
        except subprocess.TimeoutExpired as error:
            raise PlaneError(f"{device}: {self._program} did not start within {_TIMEOUT:g} s") from error
        if done.returncode or not answers(path):
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise PlaneError(f"{device}: {self._program} did not start: {said[-1] if said else 'it said nothing'}")

    def stop(self, device: str) -> None:
        path = socket_path(self._directory, device)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            try:
                connection.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                path.unlink(missing_ok=True)
                return
            # The process watches its socket and ends when it is removed; that closes our connection.
            path.unlink(missing_ok=True)
            try:
                connection.recv(1)
            except ConnectionResetError:
                pass
            except TimeoutError as error:
                raise self._still_there(device) from error
        if not wait_until(lambda: not _exists(device), self._directory, _TIMEOUT):
            raise self._still_there(device)

    def _still_there(self, device: str) -> PlaneError:
        return PlaneError(f"{device}: {self._program} did not end within {_TIMEOUT:g} s")


class SystemdLauncher:
    """Asks the root helper (`smegmesh-devices.service`), by empty files `IF.start` and `IF.stop`."""

    def __init__(
        self, directory: Path = SOCKET_DIRECTORY, requests: Path = REQUEST_DIRECTORY, timeout: float = _TIMEOUT
    ) -> None:
        self._directory = directory
        self._requests = requests
        self._timeout = timeout

    def start(self, device: str) -> None:
        self._ask(device, "start", running=True)

    def stop(self, device: str) -> None:
        self._ask(device, "stop", running=False)

    def _ask(self, device: str, verb: str, *, running: bool) -> None:
        path = socket_path(self._directory, device)
        try:
            (self._requests / f"{device}.{verb}").touch()
            done = wait_until(lambda: answers(path) is running, self._directory, self._timeout)
        except OSError as error:
            raise PlaneError(f"{device}: cannot ask for its {verb}: {error}: is the role's unit installed?") from error
        if not done:
            raise PlaneError(
                f"{device}: no {verb} within {self._timeout:g} s: "
                f"see journalctl -u smegmesh-devices -u smegmesh-wg@{device}"
            )
