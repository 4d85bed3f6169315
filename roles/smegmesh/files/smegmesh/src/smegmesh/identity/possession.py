"""Proof that a node holds the private half of its tunnel key, for one that it was not born with.

X25519 keys sign nothing. But an Ed25519 key of the same secret scalar does, and its public half is the tunnel key in
other coordinates (the birational map of RFC 7748, section 4.1). So a tunnel key that replaces another is made from an
Ed25519 seed, which signs once whose it is and is forgotten: a proof is that public half and the signature.
On the joint security of both uses: Thormarker, "On using the same key pair for Ed25519 and an X25519 based KEM",
IACR ePrint 2021/509.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from smegmesh.identity.keys import KEY_LENGTH, clamp, public_key, verify

PROOF_LENGTH = 96
_PRIME = 2**255 - 19
_LABEL = b"smegmesh/tunnel\0"


def make_tunnel_key(seed: bytes, node_key: bytes) -> tuple[bytes, bytes]:
    """A tunnel key for a node: private key and proof. `seed` are 32 secret random bytes, which are not needed again."""
    signing = Ed25519PrivateKey.from_private_bytes(seed)
    private = clamp(hashlib.sha512(seed).digest()[:KEY_LENGTH])  # RFC 8032, section 5.1.5
    signature = signing.sign(_message(node_key, public_key(private)))
    return private, signing.public_key().public_bytes_raw() + signature


def proves(proof: bytes, node_key: bytes, tunnel_key: bytes) -> bool:
    """Whether whoever made the proof for this node holds the private half of the tunnel key."""
    if len(proof) != PROOF_LENGTH:
        return False
    signer, signature = proof[:KEY_LENGTH], proof[KEY_LENGTH:]
    return _montgomery(signer) == tunnel_key and verify(signer, signature, _message(node_key, tunnel_key))


def _montgomery(edwards: bytes) -> bytes:
    """An Ed25519 public key as an X25519 one: u = (1 + y) / (1 - y)."""
    y = (int.from_bytes(edwards, "little") & ~(1 << 255)) % _PRIME
    return ((1 + y) * pow(1 - y, -1, _PRIME) % _PRIME if y != 1 else 0).to_bytes(KEY_LENGTH, "little")


def _message(node_key: bytes, tunnel_key: bytes) -> bytes:
    return _LABEL + node_key + tunnel_key
