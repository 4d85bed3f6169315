"""Keys: WireGuard's X25519 tunnel keys and the Ed25519 identity key of a host.

Keys are 32 raw bytes inside the program and base64, WireGuard's text form, at
every edge.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

KEY_LENGTH = 32


def encode_key(key: bytes) -> str:
    """Base64 of a 32-byte key; ValueError for another length."""
    if len(key) != KEY_LENGTH:
        raise ValueError(f"a key has {KEY_LENGTH} bytes, not {len(key)}")
    return base64.b64encode(key).decode()


def decode_key(text: str) -> bytes:
    """The 32 bytes of a base64 key; ValueError unless it is exactly what `wg` would print.

    The text is in no error: it may be a private key.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        key = b""
    if len(key) != KEY_LENGTH or base64.b64encode(key).decode() != text:
        raise ValueError(f"not a key: a key is {KEY_LENGTH} bytes in base64, 44 characters as `wg pubkey` prints them")
    return key


def same_key(one: bytes, other: bytes) -> bool:
    """Compare keys in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def generate_private_key() -> bytes:
    """A new X25519 private key, clamped as `wg genkey` does it."""
    return clamp(X25519PrivateKey.generate().private_bytes_raw())


def clamp(secret: bytes) -> bytes:
    """32 secret bytes as an X25519 private key (RFC 7748, section 5)."""
    key = bytearray(secret)
    key[0] &= 248
    key[31] = key[31] & 127 | 64
    return bytes(key)


def public_key(private: bytes) -> bytes:
    """The X25519 public key of a private one; ValueError for another length."""
    if len(private) != KEY_LENGTH:
        raise ValueError(f"a private key has {KEY_LENGTH} bytes, not {len(private)}")
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


class IdentityKey:
    """A host's Ed25519 key, which signs what it says. Shows only its public half."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public: bytes = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> IdentityKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> IdentityKey:
        """Read an unencrypted PKCS #8 key; ValueError says what it is instead."""
        return cls(load_ed25519_pem(pem))

    def to_pem(self) -> bytes:
        """PKCS #8, unencrypted: for a file of mode 0600 and nothing else."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def private(self) -> Ed25519PrivateKey:
        """The key as the cryptography library takes it, to sign requests and certificates."""
        return self._private

    def sign(self, message: bytes) -> bytes:
        """A signature of 64 bytes."""
        return self._private.sign(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and same_key(self.public, other.public)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"IdentityKey(public={encode_key(self.public)})"


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature is the key's; False for anything malformed."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def load_ed25519_pem(pem: bytes) -> Ed25519PrivateKey:
    """Read an unencrypted Ed25519 private key from PEM; ValueError holds nothing of the input."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted: give it decrypted, or protect its file with a vault") from None
    except (ValueError, UnsupportedAlgorithm):  # whose text may quote what was read
        raise ValueError("not a private key in PEM: expected a block BEGIN PRIVATE KEY (PKCS #8)") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"the private key is of another kind ({type(key).__name__}): an Ed25519 key is needed")
    return key
