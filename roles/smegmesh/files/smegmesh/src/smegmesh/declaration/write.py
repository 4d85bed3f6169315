"""Carrying out file changes: all of them or none."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

from smegmesh.declaration.change import FileChange
from smegmesh.declaration.meshes import FRAGMENTS_SUFFIX

_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755
_PATIENCE, _PAUSE = 930.0, 0.02  # seconds: whoever writes waits for the agent, which may wait 900 s for hooks


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the directory if it is missing (its parent's owner gets it) and keep other writers out meanwhile.

    OSError if they take too long, and for a symbolic link: root writes here, and local.d is in a directory of the
    agent's user.
    """
    made = not os.path.lexists(directory)
    if made:
        directory.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if made and os.geteuid() == 0:
            parent = directory.parent.stat()
            os.fchown(descriptor, parent.st_uid, parent.st_gid)
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    """Wait for other writers, but not for ever: whoever may read a directory can lock it."""
    until = monotonic() + _PATIENCE
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                said = f"others have had it locked for {_PATIENCE:g} s: `fuser -v {directory}` says which programs"
                raise OSError(errno.EBUSY, said, str(directory)) from None
            sleep(_PAUSE)


class FileTransaction:
    """Writes new texts beside their files, then renames; can put everything back until it is left.

    The caller holds the lock of each directory. Going back only renames, so it
    needs no space on the disk. OSError where something cannot be written.
    """

    def __init__(self, changes: Sequence[FileChange]) -> None:
        self._changes = changes
        self._done: list[FileChange] = []

    def __enter__(self) -> FileTransaction:
        try:
            for change in self._changes:
                self._stage(change)
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    def apply(self) -> None:
        """Put the new texts in place; if that fails half-way, the old ones."""
        try:
            for change in self._changes:
                if change.after is None:
                    change.path.unlink()
                else:
                    os.replace(_beside(change.path, "new"), change.path)
                self._done.append(change)
            self._sync()
        except BaseException:
            self.roll_back()
            raise

    def roll_back(self) -> None:
        """Put the old texts back, those of deleted files included."""
        while self._done:
            change = self._done.pop()
            if change.before is None:
                change.path.unlink(missing_ok=True)
            else:
                os.replace(_beside(change.path, "old"), change.path)
        self._sync()

    def _stage(self, change: FileChange) -> None:
        if change.fragment and change.after is not None:
            _make_directory(change.path.parent)
        if change.before is not None:
            old = _beside(change.path, "old")
            old.unlink(missing_ok=True)
            try:
                os.link(change.path, old, follow_symlinks=False)
            except PermissionError:  # fs.protected_hardlinks: the agent has no links to what root wrote
                _write(old, change.before)
        if change.after is not None:
            _write(_beside(change.path, "new"), change.after)

    def _clean(self) -> None:
        for change in self._changes:
            for word in ("new", "old"):
                _beside(change.path, word).unlink(missing_ok=True)
        for directory in {change.path.parent for change in self._changes if change.fragment}:
            with suppress(OSError):  # there are others in it, or it was never made
                directory.rmdir()

    def _sync(self) -> None:
        for directory in {change.path.parent for change in self._changes}:
            _sync_directory(directory)


def forget_fragments(local: Path, keep: Collection[str]) -> None:
    """Take away what the host has added to meshes, but to those to `keep`. OSError where that cannot be.

    For the agent alone, which is the one writer of these.
    """
    for directory in local.glob(f"*{FRAGMENTS_SUFFIX}"):
        if directory.name.removesuffix(FRAGMENTS_SUFFIX) not in keep and not directory.is_symlink():
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()


def _make_directory(directory: Path) -> None:
    """Make a directory of fragments if it is missing; whatever the umask, the agent's user must read it."""
    if not directory.is_dir():
        directory.mkdir(_DIRECTORY_MODE)
        directory.chmod(_DIRECTORY_MODE)
        _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, word: str) -> Path:
    return path.with_name(f".{path.name}.{word}")


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(descriptor, _FILE_MODE)  # whatever the umask: the agent's user must read it
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
