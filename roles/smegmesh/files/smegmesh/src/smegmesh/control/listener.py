"""The Unix socket: in place only once it listens with its final owner and mode."""

from __future__ import annotations

import grp
import os
import socket
from pathlib import Path

from smegmesh.control.errors import ControlError

_MAX_PATH = 107  # sun_path, less the final NUL
_BACKLOG = 64
_MODE = 0o660


class Listener:
    """A listening socket at a path, taken away again by `close` if it is still ours."""

    def __init__(self, path: Path, group: int) -> None:
        """Bind; ControlError if another agent answers there or the directory cannot be written.

        A socket file that nobody listens on is left over from a crash and replaced.
        """
        self._path = path
        if len(os.fsencode(path)) + len(".new") > _MAX_PATH:
            raise ControlError(f"{path}: too long for a Unix socket", f"use a path of {_MAX_PATH - 4} bytes at most")
        if _answers(path):
            raise ControlError(f"{path}: another smegd listens there", "stop it first")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._identity = self._bind(group)
        except OSError as error:
            self.socket.close()
            what = error.strerror or str(error)
            raise ControlError(f"{path}: {what}", "create the directory, owned by the agent's user") from error

    def _bind(self, group: int) -> tuple[int, int]:
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        self.socket.bind(str(new))
        os.chown(new, -1, group)
        os.chmod(new, _MODE)
        self.socket.listen(_BACKLOG)
        os.replace(new, self._path)
        return _identity(self._path)

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self.socket.close()
        try:
            if _identity(self._path) == self._identity:
                self._path.unlink()
        except FileNotFoundError:
            return


def find_group(name: str) -> int:
    """The number of a group; ControlError if there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ControlError(f"group {name} does not exist", "create it, or give another one") from None


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
