"""Requests to join come from anybody: whatever the bytes, they are one that was meant, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smegmesh.identity.certificate import Authority, CertificateError, Grant, certificate_der, issue, make_authority
from smegmesh.identity.certificate import make_request as request_of
from smegmesh.identity.joining import MAX_REQUEST, check_answers, read_fingerprint, read_join, write_fingerprint
from smegmesh.identity.keys import IdentityKey

NOW = 1_800_000_000
PEM, KEY = make_authority("default", 3650, now=NOW)
IDENTITY = IdentityKey.generate()
REQUEST = request_of(IDENTITY, "web3", bytes(range(32)))
JOIN = read_join("prod", REQUEST)
CHANGES = st.lists(st.tuples(st.integers(0, len(REQUEST) - 1), st.integers(0, 255)), min_size=1, max_size=4)


@settings(deadline=None)
@given(CHANGES)
def test_changed_bytes_are_never_a_request_with_the_same_fingerprint(changes: list[tuple[int, int]]) -> None:
    data = bytearray(REQUEST)
    for place, value in changes:
        data[place] = value
    changed = bytes(data)
    if changed == REQUEST:
        return
    try:
        read = read_join("prod", changed)
    except ValueError:
        return
    assert read.fingerprint != JOIN.fingerprint


@settings(deadline=None)
@given(st.binary(max_size=2 * MAX_REQUEST) | st.tuples(st.binary(max_size=40), st.binary(max_size=40)))
def test_anything_else_is_refused_with_one_kind_of_error(data: bytes | tuple[bytes, bytes]) -> None:
    around = data if isinstance(data, bytes) else data[0] + REQUEST + data[1]
    if around == REQUEST:
        return
    with pytest.raises(ValueError, match=r".+"):
        read_join("prod", around)


@settings(deadline=None)
@given(st.from_regex(r"[a-z]{1,20}", fullmatch=True))
def test_another_mesh_is_another_fingerprint(mesh: str) -> None:
    assert (read_join(mesh, REQUEST).fingerprint == JOIN.fingerprint) == (mesh == "prod")


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", ":", " "]))
def test_fingerprints_are_read_as_they_are_written(fingerprint: bytes, between: str) -> None:
    written = write_fingerprint(fingerprint)
    assert read_fingerprint(written.replace(":", between).upper()) == fingerprint
    for part in (written[:-1], written[:39], f"{written}0", ""):
        with pytest.raises(ValueError, match="all 64 digits"):
            read_fingerprint(part)


def certificate_for(
    *, identity: IdentityKey = IDENTITY, name: str = "web3", mesh: str = "prod", first: int = 0
) -> bytes:
    node_key = bytes([first, *range(1, 32)])
    request = read_join("prod", request_of(identity, name, node_key)).request
    grant = Grant(name, node_key, (mesh,))
    return certificate_der(issue(PEM, KEY, request, grant, not_before=NOW, not_after=NOW + 60))


def test_a_certificate_answers_the_request_that_it_is_for_and_no_other() -> None:
    authority = Authority(PEM)
    check_answers(authority.verify(certificate_for()), JOIN)
    for what, other in {
        "identity key": certificate_for(identity=IdentityKey.generate()),
        "node key": certificate_for(first=1),
        "for node": certificate_for(name="web4"),
        "does not admit": certificate_for(mesh="office"),
    }.items():
        with pytest.raises(CertificateError, match=what):
            check_answers(authority.verify(other), JOIN)
