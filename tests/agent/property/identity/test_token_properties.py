"""Tokens: good for the request that was signed with them, and what comes before a request is read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.identity.token import Signed, Token, split

REQUEST = b"-----BEGIN CERTIFICATE REQUEST-----\n"
fingerprints = st.binary(min_size=32, max_size=32)


@settings(deadline=None)
@given(fingerprints, fingerprints)
def test_a_token_is_read_as_it_was_written_and_signs_one_request(fingerprint: bytes, other: bytes) -> None:
    token = Token.make(fingerprint)
    read = Token.read(token.write())
    assert read == token
    assert token.key.private.private_bytes_raw().hex() not in repr(token)
    signed, request = split(read.sign(fingerprint) + REQUEST)
    assert request == REQUEST
    assert isinstance(signed, Signed) and signed.public == token.key.public
    assert signed.of(fingerprint)
    assert signed.of(other) == (other == fingerprint)


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(0, 140))
def test_what_is_no_token_is_refused_and_not_repeated(text: str, length: int) -> None:
    secret = Token.make(bytes(32)).write()
    for wrong in (text, secret[:length], secret + secret, secret.upper()):
        with pytest.raises(ValueError, match="not a token") as caught:
            Token.read(wrong)
        assert secret.split()[1][:16] not in str(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_what_goes_before_a_request_is_a_signature_or_refused(data: bytes) -> None:
    try:
        signed, request = split(b"token" + data)
    except ValueError:
        return
    assert signed is not None and len(signed.public) == 32
    assert request == data.partition(b"\n")[2]
    assert not signed.of(bytes(32))
