"""Whatever bytes a certificate with an enroller's in it has, it is the one that was issued, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.identity.certificate import Authority, CertificateError, leaf_der, make_authority, make_request
from smegmesh.identity.certificate import read_request as read
from smegmesh.identity.enrolled import read_enroller
from smegmesh.identity.enroller import enroll, issue_enroller
from smegmesh.identity.fields import certificate_der
from smegmesh.identity.grant import decode_meshes, encode_meshes
from smegmesh.identity.joining import read_join
from smegmesh.identity.keys import IdentityKey

NOW = 1_800_000_000
PEM, KEY = make_authority("default", 3650, now=NOW)
AUTHORITY = Authority(PEM)
PEER = IdentityKey.generate()
ENROLLER = AUTHORITY.read(
    certificate_der(
        issue_enroller(
            PEM, KEY, read(make_request(PEER, "a1", bytes(32))), ["prod"], not_before=NOW, not_after=NOW + 86400
        )
    ),
    read_enroller,
)
LEAF = leaf_der(
    enroll(
        ENROLLER,
        PEER,
        read_join("prod", make_request(IdentityKey.generate(), "web3", bytes(range(32)))),
        now=NOW + 60,
    )
)
assert AUTHORITY.verify(LEAF).grant.meshes == ("prod",)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_bytes_are_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(LEAF)
    for place, value in changes:
        data[place] = value
    if bytes(data) == LEAF:
        return
    with pytest.raises(CertificateError):
        AUTHORITY.verify(bytes(data))


@settings(deadline=None)
@given(st.binary(max_size=len(LEAF)), st.integers(0, len(LEAF)))
def test_parts_and_junk_are_refused(junk: bytes, cut: int) -> None:
    for data in (junk, LEAF[:cut], junk + LEAF[cut:]):
        if data != LEAF:
            with pytest.raises(CertificateError):
                AUTHORITY.verify(data)


@given(st.lists(st.from_regex(r"[a-z]{1,20}", fullmatch=True), min_size=1, max_size=5))
def test_the_meshes_of_an_enroller_have_one_form(meshes: list[str]) -> None:
    assert decode_meshes(encode_meshes(meshes)) == tuple(sorted(set(meshes)))
