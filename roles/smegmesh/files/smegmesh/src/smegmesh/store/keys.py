"""The host's private keys: two files of mode 0600, made on the host, never shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from smegmesh.identity.keys import IdentityKey, decode_key, encode_key, generate_private_key, public_key
from smegmesh.store.durable import sync
from smegmesh.store.errors import StoreError

KEYS_DIRECTORY = "keys"
_IDENTITY = "identity.key"
_TUNNEL = "tunnel.key"
_MAX_SIZE = 4096


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Who this host is. The node key is the public half of the tunnel key it was born with."""

    identity: IdentityKey
    tunnel_private: bytes = field(repr=False)

    @property
    def node_key(self) -> bytes:
        """32 bytes, public."""
        return public_key(self.tunnel_private)


def load_keys(state: Path) -> HostKeys:
    """Read the keys under the state directory; StoreError if one is missing, open to others or no key."""
    directory = state / KEYS_DIRECTORY
    identity = read_secret(directory / _IDENTITY)
    tunnel = read_secret(directory / _TUNNEL)
    try:
        return HostKeys(IdentityKey.from_pem(identity), decode_key(tunnel.decode("ascii", "replace").strip()))
    except ValueError as error:
        fix = "restore both files from a copy, or remove both and have this host signed anew"
        raise StoreError(f"{directory}: {error}; {fix}") from None


def ensure_keys(state: Path) -> tuple[HostKeys, bool]:
    """The keys under the state directory, made where missing, and whether any was made.

    The files get the owner of the state directory, so root can make them for the agent.
    Raises PermissionError for any other user, StoreError for the rest that can go wrong.
    """
    directory = state / KEYS_DIRECTORY
    try:
        owner = state.stat()
        if directory.is_symlink():
            raise StoreError(f"{directory}: is a symbolic link: put the directory itself there")
        if not directory.is_dir():
            directory.mkdir(0o700)
            _give(directory, owner)
        made_identity = make_secret(directory / _IDENTITY, owner, IdentityKey.generate().to_pem)
        made_tunnel = make_secret(directory / _TUNNEL, owner, _new_tunnel_key)
    except PermissionError:
        raise
    except OSError as error:
        fix = "give the agent's state directory, and check its disk"
        raise StoreError(f"{error.filename or state}: {error.strerror}: {fix}") from None
    return load_keys(state), made_identity or made_tunnel


def _new_tunnel_key() -> bytes:
    return f"{encode_key(generate_private_key())}\n".encode()


def make_secret(path: Path, owner: os.stat_result, content: Callable[[], bytes]) -> bool:
    """Write a file nobody else can read; a crash leaves either none or a whole one. False if it exists."""
    if os.path.lexists(path):
        return False
    with _written_beside(path, owner, content()) as new:
        try:
            os.link(new, path)  # unlike a rename it never replaces a key another process just made
        except FileExistsError:
            return False
    sync(path.parent)
    return True


def replace_secret(path: Path, owner: os.stat_result, content: bytes) -> None:
    """The same in the place of what is there; a crash leaves either the old file or the new one."""
    with _written_beside(path, owner, content) as new:
        new.replace(path)
    sync(path.parent)


@contextmanager
def _written_beside(path: Path, owner: os.stat_result, content: bytes) -> Iterator[Path]:
    """A file with these contents, to be moved into its place; what is left of it is removed."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _give(new, owner)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _give(path: Path, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def read_secret(path: Path, limit: int = _MAX_SIZE) -> bytes:
    """What such a file holds; StoreError if it is missing, open to others or no file of its own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        fix = "make it with `smegctl request`" if isinstance(error, FileNotFoundError) else "run as the agent's user"
        raise StoreError(f"{path}: {error.strerror}: {fix}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise StoreError(f"{path}: not a regular file: put the key there itself")
    with os.fdopen(descriptor, "rb") as stream:
        if mode & 0o077:
            raise StoreError(f"{path}: a private key open to others (mode {mode & 0o777:04o}): chmod 600 {path}")
        return stream.read(limit)
