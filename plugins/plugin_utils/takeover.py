# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One authority takes over from another, in the files of the controller: step by step, each of which may be repeated.

| step | certificate file | C(key) | beside it |
| --- | --- | --- | --- |
| | old | old | |
| announced | old, new | old | C(.next), the new key |
| switched | new, old | new | C(.former), the old key |
| finished | new | new | |

The first certificate is whose key signs. Keys are moved as they are, so that what Vault encrypted stays encrypted.
"""

from __future__ import annotations

import os
import typing as t
from collections.abc import Callable

from ansible_collections.smegmesh.wireguard.plugins.plugin_utils import certificates, controller_files, identity

STEPS = ("announced", "switched", "finished")

Read = Callable[[str], "bytes | None"]


class Takeover:
    """The files of an authority. C(read) reads one, decrypted; CertificateProblem says what is not as it should be."""

    def __init__(self, certificate: str, key: str, read: Read) -> None:
        self._certificate, self._key, self._read = certificate, key, read
        self._next, self._former = key + ".next", key + ".former"

    def reason(self, step: str) -> str | None:
        """What is to do for a step, None if it was done."""
        pems = self._pems()
        if step == "announced":
            return "a new authority is announced" if len(pems) == 1 else None
        if step == "switched":
            return "the new authority signs" if os.path.exists(self._next) or self._swapped(pems) else None
        return "the old authority is trusted no more" if len(pems) == 2 or os.path.exists(self._former) else None

    def do(self, step: str, *, days: int, now: float) -> None:
        """Carry out a step."""
        if step == "announced":
            self._announce(days, now)
        elif step == "switched":
            self._switch()
        else:
            self._finish()

    def _announce(self, days: int, now: float) -> None:
        """The new key first, so that no certificate is without one."""
        certificate = identity.load("certificate")
        name = certificates.read_authority(self._pems()[0], self._certificate).name
        pem, key = certificate.make_authority(name, days, now=now, key_pem=self._read(self._next))
        if not os.path.exists(self._next):
            controller_files.write(self._next, key, 0o600)
        self._write([*self._pems(), pem])

    def _switch(self) -> None:
        if os.path.exists(self._next):
            if os.path.exists(self._key):
                os.replace(self._key, self._former)
            os.replace(self._next, self._key)
        pems = self._pems()
        self._write(pems[::-1] if self._swapped(pems) else pems)

    def _finish(self) -> None:
        pems = self._pems()
        if self._swapped(pems) or os.path.exists(self._next):
            raise certificates.CertificateProblem(
                f"{self._certificate}: the new authority does not sign yet: switch first"
            )
        self._write(pems[:1])
        if os.path.exists(self._former):
            os.unlink(self._former)

    def _pems(self) -> list[bytes]:
        """The certificates in the file, one or two."""
        content = self._read(self._certificate)
        if content is None:
            raise certificates.CertificateProblem(
                f"{self._certificate} is not there: make the authority with the role smegmesh_authority first"
            )
        certificates.read_authority(content, self._certificate)
        return certificates.split_authorities(content)

    def _swapped(self, pems: list[bytes]) -> bool:
        """Whether the key is that of the second certificate."""
        key = self._read(self._key) if len(pems) == 2 else None
        if key is None:
            return False
        public = identity.load("keys").IdentityKey.from_pem(key).public
        return bool(public == certificates.read_authority(pems[1], self._certificate).public)

    def _write(self, pems: list[bytes]) -> None:
        controller_files.write(self._certificate, b"".join(pems), 0o644)


def reader(loader: t.Any) -> Read:
    """Reads the controller's files as Ansible does."""
    return lambda path: controller_files.read(loader, path)
