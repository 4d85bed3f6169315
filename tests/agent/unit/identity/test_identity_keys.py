"""Keys: text form, clamping, signatures, and what they never show."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from smegmesh.identity import keys
from smegmesh.identity.keys import IdentityKey, decode_key, encode_key, public_key, same_key, verify


def test_identity_key_survives_its_file() -> None:
    key = IdentityKey.generate()
    again = IdentityKey.from_pem(key.to_pem())
    assert again == key
    assert hash(again) == hash(key)
    assert key != IdentityKey.generate()
    assert verify(key.public, again.sign(b"message"), b"message")


def test_signatures_that_are_not() -> None:
    key, other = IdentityKey.generate(), IdentityKey.generate()
    signature = key.sign(b"message")
    assert len(signature) == 64
    assert not verify(other.public, signature, b"message")
    assert not verify(key.public, signature, b"another")
    assert not verify(key.public, signature[:-1], b"message")
    assert not verify(b"", signature, b"message")


def test_no_secret_is_shown() -> None:
    key = IdentityKey.generate()
    secret = key.private.private_bytes_raw()
    for text in (repr(key), str(key), f"{key}"):
        assert encode_key(key.public) in text
        assert base64.b64encode(secret).decode() not in text
        assert secret.hex() not in text
    with pytest.raises(ValueError, match="not a key") as caught:
        decode_key(base64.b64encode(secret).decode() + "=")
    assert base64.b64encode(secret).decode()[:10] not in str(caught.value)


def test_key_files_of_other_kinds_are_named() -> None:
    encrypted = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    with pytest.raises(ValueError, match="encrypted: give it decrypted"):
        IdentityKey.from_pem(encrypted)
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="an Ed25519 key is needed"):
        IdentityKey.from_pem(curve)
    for pem in (b"", b"nonsense", IdentityKey.generate().to_pem()[:60]):
        with pytest.raises(ValueError, match="not a private key in PEM"):
            IdentityKey.from_pem(pem)


def test_tunnel_keys_are_clamped_and_derive_their_public_half() -> None:
    for _ in range(20):
        private = keys.generate_private_key()
        assert private[0] & 7 == 0
        assert private[31] & 0xC0 == 0x40
        assert len(public_key(private)) == 32
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        public_key(b"abc")


@pytest.mark.parametrize("text", ["", "a", "A" * 43, "A" * 44, "A" * 42 + "B=", " " + "A" * 43 + "=", "A" * 43 + "=\n"])
def test_text_that_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="44 characters as `wg pubkey` prints them"):
        decode_key(text)


def test_keys_compare() -> None:
    assert same_key(bytes(32), bytes(32))
    assert not same_key(bytes(32), bytes(31) + b"\1")
    with pytest.raises(ValueError, match="32 bytes, not 2"):
        encode_key(b"ab")
