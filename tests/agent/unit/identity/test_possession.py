"""Who may call a tunnel key its own."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from smegmesh.identity.keys import generate_private_key, public_key
from smegmesh.identity.possession import PROOF_LENGTH, make_tunnel_key, proves

NODE, OTHER = b"n" * 32, b"o" * 32
SEEDS = st.binary(min_size=32, max_size=32)


@given(SEEDS)
def test_the_proof_is_of_this_key_for_this_node_alone(seed: bytes) -> None:
    private, proof = make_tunnel_key(seed, NODE)
    tunnel = public_key(private)
    assert proves(proof, NODE, tunnel)
    assert not proves(proof, OTHER, tunnel), "who copies it has nothing"
    assert not proves(proof, NODE, public_key(generate_private_key()))


@given(SEEDS, SEEDS)
def test_another_key_of_ones_own_proves_nothing_of_it(seed: bytes, thiefs: bytes) -> None:
    tunnel = public_key(make_tunnel_key(seed, NODE)[0])
    _private, proof = make_tunnel_key(thiefs, OTHER)
    assert proves(proof, OTHER, tunnel) is (seed == thiefs)


@given(SEEDS)
def test_it_is_a_key_like_any_other(seed: bytes) -> None:
    mine, theirs = make_tunnel_key(seed, NODE)[0], generate_private_key()
    assert _exchange(mine, public_key(theirs)) == _exchange(theirs, public_key(mine))


def _exchange(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


@given(st.binary(max_size=PROOF_LENGTH + 1), SEEDS)
def test_no_other_bytes_prove_anything(proof: bytes, tunnel: bytes) -> None:
    assert not proves(proof, NODE, tunnel)


@pytest.mark.parametrize("signer", [b"\1" + bytes(31), bytes(32), b"\xff" * 32])
def test_points_of_no_use_are_refused(signer: bytes) -> None:
    assert not proves(signer + bytes(64), NODE, bytes(32))
