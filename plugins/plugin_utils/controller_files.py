# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files on the controller: read with Vault's help, in memory; written private and whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import typing as t
from collections.abc import Iterator

from ansible.parsing.vault import AnsibleVaultError


def read(loader: t.Any, path: str) -> bytes | None:
    """A file's content, decrypted in memory if Ansible Vault encrypted it; None if there is none.

    Raises AnsibleVaultError, which names the file, if it cannot be decrypted.
    """
    path = loader.path_dwim(path)
    if not os.path.exists(path):
        return None
    try:
        content: bytes = loader._get_file_contents(path)[0]
    except AnsibleVaultError as error:
        raise AnsibleVaultError(
            f"{path} cannot be decrypted: {str(error).rstrip('.')}: "
            "give its password with --ask-vault-pass or --vault-password-file"
        ) from error
    return content


def write(path: str, content: bytes, mode: int) -> None:
    """Write a file so that it is there whole or not at all, never readable by more than C(mode) says."""
    descriptor, temporary = tempfile.mkstemp(prefix=".smegmesh-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def claim(path: str) -> t.BinaryIO | None:
    """An open file that no other process has claimed, until it is closed; None if it is gone or another one's."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - it is the caller's
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def lock(directory: str) -> Iterator[None]:
    """Hold a directory for this process; Ansible's forks wait for one another."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(os.path.join(directory, ".lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
