"""One-time tokens: whoever has one may join a mesh at the peer that it was made for, once.

A token is a secret key, and the fingerprint of the authority, so that the host which joins compares nothing. The peer
knows the public key alone. The host signs its request with the secret one; the token itself goes over no network:

    smegmesh-token-1 SECRET AUTHORITY           (both 64 hexadecimal digits)
    token PUBLIC SIGNATURE                      (what goes before the request, in base64)

The signature is over "smegmesh/token" NUL fingerprint of the request.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smegmesh.identity.keys import IdentityKey, decode_key, encode_key, verify

_MAGIC = "smegmesh-token-1"
_TOKEN = re.compile(rf"{_MAGIC} ([0-9a-f]{{64}}) ([0-9a-f]{{64}})\n?", re.ASCII)
_WORD = b"token"
_LABEL = b"smegmesh/token\0"


@dataclass(frozen=True, slots=True)
class Token:
    """Its key, which shows the public half only, and the fingerprint of the authority it is for."""

    key: IdentityKey
    authority: bytes

    @classmethod
    def make(cls, authority: bytes) -> Token:
        """A new one."""
        return cls(IdentityKey.generate(), authority)

    @classmethod
    def read(cls, text: str) -> Token:
        """ValueError, which holds nothing of the text, for anything that is no token."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError(f"not a token: it is one line that begins with {_MAGIC}")
        secret, authority = (bytes.fromhex(part) for part in match.groups())
        return cls(IdentityKey(Ed25519PrivateKey.from_private_bytes(secret)), authority)

    def write(self) -> str:
        """The secret text, one line."""
        return f"{_MAGIC} {self.key.private.private_bytes_raw().hex()} {self.authority.hex()}\n"

    def sign(self, fingerprint: bytes) -> bytes:
        """What goes before a request of this fingerprint: a line."""
        public, signature = encode_key(self.key.public), self.key.sign(_LABEL + fingerprint)
        return b"%s %s %s\n" % (_WORD, public.encode("ascii"), base64.b64encode(signature))


@dataclass(frozen=True, slots=True)
class Signed:
    """That somebody with a token signed a request, as they say."""

    public: bytes
    signature: bytes

    def of(self, fingerprint: bytes) -> bool:
        """Whether it is so for a request of this fingerprint."""
        return verify(self.public, self.signature, _LABEL + fingerprint)


def split(message: bytes) -> tuple[Signed | None, bytes]:
    """A request, and what goes before it; ValueError if that is not as it should be."""
    if not message.startswith(_WORD):
        return None, message
    line, _newline, request = message.partition(b"\n")
    words = line.decode("ascii", "replace").split(" ")
    try:
        _word, public, encoded = words
        signature = base64.b64decode(encoded, validate=True)
        signed = Signed(decode_key(public), signature)
    except (ValueError, binascii.Error):
        raise ValueError("what goes before the request is no use of a token") from None
    return signed, request
