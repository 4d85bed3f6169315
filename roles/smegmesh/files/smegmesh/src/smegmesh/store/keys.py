"""The host's private keys: two files of mode 0600, made on the host, never shown.

A tunnel key that was rotated is gone; the new one has the proof of its possession in a second line.
Of those before, the public halves are in a third file: the first is the node key for ever, and an
interface may still have the last.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from smegmesh.identity.keys import KEY_LENGTH, IdentityKey, decode_key, encode_key, generate_private_key, public_key
from smegmesh.identity.possession import make_tunnel_key
from smegmesh.store.durable import sync
from smegmesh.store.errors import StoreError

KEYS_DIRECTORY = "keys"
_IDENTITY = "identity.key"
_TUNNEL = "tunnel.key"
_FORMER = "former.pub"
_MAX_SIZE = 4096


@dataclass(frozen=True, slots=True)
class HostKeys:
    """Who this host is. The node key is the public half of the tunnel key it was born with.

    `former` are the public halves of tunnel keys before this one: the first, then the last; empty before a rotation.
    `proof` is what `identity.possession` has of the one that is now, None for the first.
    """

    identity: IdentityKey
    tunnel_private: bytes = field(repr=False)
    former: tuple[bytes, ...] = ()
    proof: bytes | None = None

    @property
    def node_key(self) -> bytes:
        """32 bytes, public."""
        return self.former[0] if self.former else self.tunnel_key

    @property
    def tunnel_key(self) -> bytes:
        """32 bytes, public."""
        return public_key(self.tunnel_private)


def load_keys(state: Path) -> HostKeys:
    """Read the keys under the state directory; StoreError if one is missing, open to others or no key."""
    directory = state / KEYS_DIRECTORY
    identity = read_secret(directory / _IDENTITY)
    tunnel = read_secret(directory / _TUNNEL)
    former = _read_if_there(directory / _FORMER)
    try:
        private, proof = _read_tunnel(tunnel)
        return HostKeys(IdentityKey.from_pem(identity), private, _read_former(former), proof)
    except ValueError as error:
        fix = "restore its files from a copy, or remove all and have this host signed anew"
        raise StoreError(f"{directory}: {error}", fix) from None


def ensure_keys(state: Path) -> tuple[HostKeys, bool]:
    """The keys under the state directory, made where missing, and whether any was made.

    The files get the owner of the state directory, so root can make them for the agent.
    Raises PermissionError for any other user, StoreError for the rest that can go wrong.
    """
    directory = state / KEYS_DIRECTORY
    with _writing(state) as owner:
        made_identity = make_secret(directory / _IDENTITY, owner, IdentityKey.generate().to_pem)
        if not os.path.lexists(directory / _TUNNEL):
            (directory / _FORMER).unlink(missing_ok=True)  # whoever has lost the tunnel key is another node
        made_tunnel = make_secret(directory / _TUNNEL, owner, lambda: _first_tunnel(generate_private_key()))
    return load_keys(state), made_identity or made_tunnel


def held_node_key(state: Path) -> bytes | None:
    """The node key by the files under the state directory, None without a tunnel key. Raises as `load_keys`."""
    directory = state / KEYS_DIRECTORY
    if not os.path.lexists(directory / _TUNNEL):
        return None
    tunnel, former = read_secret(directory / _TUNNEL), _read_if_there(directory / _FORMER)
    try:
        private, _proof = _read_tunnel(tunnel)
        return (*_read_former(former), public_key(private))[0]
    except ValueError as error:
        raise StoreError(f"{directory}: {error}", f"restore its files from a copy, or remove {_TUNNEL}") from None


def put_first_tunnel_key(state: Path, private: bytes) -> None:
    """Make a key that was made elsewhere the one that this host was born with; what it had is gone.

    The agent must not run: an interface with the old key is not its own any more. Raises as `ensure_keys`.
    """
    directory = state / KEYS_DIRECTORY
    with _writing(state) as owner:
        # In this order, a key that cannot be written leaves this host who it was, and what is cut short is done again.
        write_secret(directory / _TUNNEL, owner, _first_tunnel(private), os.replace)
        (directory / _FORMER).unlink(missing_ok=True)


def rotate_tunnel_key(state: Path) -> HostKeys:
    """Replace the tunnel key by a new one; the node key stays. A crash leaves either, and both work.

    Raises StoreError.
    """
    keys = load_keys(state)
    directory = state / KEYS_DIRECTORY
    former = dict.fromkeys((keys.node_key, keys.tunnel_key))
    private, proof = make_tunnel_key(secrets.token_bytes(KEY_LENGTH), keys.node_key)
    content = f"{encode_key(private)}\n{base64.b64encode(proof).decode()}\n".encode()
    try:
        owner = state.stat()
        write_secret(directory / _FORMER, owner, "".join(f"{encode_key(key)}\n" for key in former).encode(), os.replace)
        write_secret(directory / _TUNNEL, owner, content, os.replace)
    except OSError as error:
        raise StoreError(f"{error.filename or directory}: {error.strerror}", "check the agent's disk") from None
    return load_keys(state)


def _read_tunnel(content: bytes) -> tuple[bytes, bytes | None]:
    """Private key and proof; ValueError, which quotes nothing of it, if it is none."""
    key, _newline, proof = content.decode("ascii", "replace").strip().partition("\n")
    try:
        return decode_key(key), base64.b64decode(proof, validate=True) if proof else None
    except binascii.Error:
        raise ValueError("the second line of the tunnel key is no proof") from None


def _read_former(content: bytes) -> tuple[bytes, ...]:
    return tuple(decode_key(line) for line in content.decode("ascii", "replace").split())


def _first_tunnel(private: bytes) -> bytes:
    return f"{encode_key(private)}\n".encode()


@contextmanager
def _writing(state: Path) -> Iterator[os.stat_result]:
    """The keys' directory is there, made if it is missing; whose its files are to be. Raises as `ensure_keys`."""
    directory = state / KEYS_DIRECTORY
    try:
        owner = state.stat()
        if directory.is_symlink():
            raise StoreError(f"{directory}: is a symbolic link", "put the directory itself there")
        if not directory.is_dir():
            directory.mkdir(0o700)
            _give(directory, owner)
        yield owner
    except PermissionError:
        raise
    except OSError as error:
        fix = "give the agent's state directory, and check its disk"
        raise StoreError(f"{error.filename or state}: {error.strerror}", fix) from None


def make_secret(path: Path, owner: os.stat_result, content: Callable[[], bytes]) -> bool:
    """Write a file nobody else can read; a crash leaves either none or a whole one. False if it exists."""
    if os.path.lexists(path):
        return False
    try:
        # Unlike a rename a link never replaces a key that another process just made.
        write_secret(path, owner, content(), os.link)
    except FileExistsError:
        return False
    return True


def write_secret(path: Path, owner: os.stat_result, content: bytes, place: Callable[[Path, Path], None]) -> None:
    """Write a file beside its place, and `place` it there once it is whole."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _give(new, owner)
        place(new, path)
    finally:
        new.unlink(missing_ok=True)
    sync(path.parent)


def _give(path: Path, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _read_if_there(path: Path) -> bytes:
    return read_secret(path) if os.path.lexists(path) else b""


def read_secret(path: Path, limit: int = _MAX_SIZE) -> bytes:
    """What such a file holds; StoreError if it is missing, open to others or no file of its own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        fix = "make it with `smegctl request`" if isinstance(error, FileNotFoundError) else "run as the agent's user"
        raise StoreError(f"{path}: {error.strerror}", fix) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise StoreError(f"{path}: not a regular file", "put the key there itself")
    with os.fdopen(descriptor, "rb") as stream:
        if mode & 0o077:
            raise StoreError(f"{path}: a private key open to others (mode {mode & 0o777:04o})", f"chmod 600 {path}")
        return stream.read(limit)
