"""What holds for all keys, mesh ids, grants and certificates."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from smegmesh.identity.address import check_mesh_id, mesh_prefix, node_address
from smegmesh.identity.certificate import (
    Authority,
    CertificateError,
    Grant,
    certificate_der,
    issue,
    make_authority,
    make_request,
    read_request,
)
from smegmesh.identity.grant import decode_grant, decode_node_key, encode_grant, encode_node_key
from smegmesh.identity.keys import IdentityKey, decode_key, encode_key
from smegmesh.identity.revocation import Revocation, make_revocation, read_revocation

NOW = 1_800_000_000
PEM, KEY = make_authority("default", 3650, now=NOW)
AUTHORITY = Authority(PEM)
IDENTITY = IdentityKey.generate()

keys = st.binary(min_size=32, max_size=32)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
mesh_ids = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda i: not i.split(".")[-1].isdigit())
granted_meshes = st.lists(mesh_ids | st.just("*"), max_size=5)
node_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", fullmatch=True)
prefixes = st.builds(
    lambda address, length: str(IPv6Network((address, length), strict=False)),
    st.integers(0, 2**128 - 1),
    st.integers(0, 128),
) | st.sampled_from(["0.0.0.0/0", "198.18.0.0/15"])
grants = st.builds(Grant, node_names, keys, granted_meshes, granted_meshes, st.lists(prefixes, max_size=5))

modest = settings(max_examples=50, deadline=None)  # each reads and writes real X.509


@modest
@given(keys)
def test_keys_survive_their_text(key: bytes) -> None:
    assert decode_key(encode_key(key)) == key


@modest
@given(st.text(max_size=50))
def test_text_is_a_key_or_an_error(text: str) -> None:
    try:
        key = decode_key(text)
    except ValueError:
        return
    assert encode_key(key) == text


@modest
@given(st.text(max_size=300) | st.lists(labels).map(".".join))
def test_a_mesh_id_is_a_server_name_or_an_error(text: str) -> None:
    try:
        check_mesh_id(text)
    except ValueError:
        return
    assert text == text.lower()
    assert text.encode("idna") == text.encode()
    assert len(text) <= 253


@modest
@given(mesh_ids, mesh_ids, keys, keys)
def test_addresses_follow_from_mesh_and_key_alone(mesh: str, other_mesh: str, key: bytes, other: bytes) -> None:
    address = node_address(mesh, key)
    assert address in mesh_prefix(mesh)
    assert mesh_prefix(mesh).subnet_of(IPv6Network("fd00::/8"))
    assert node_address(mesh, key) == address
    assume(mesh != other_mesh and key != other)
    assert mesh_prefix(mesh) != mesh_prefix(other_mesh)
    assert node_address(mesh, other) != address
    assert node_address(other_mesh, key).packed[8:] == address.packed[8:]


@modest
@given(grants)
def test_grants_survive_their_form(grant: Grant) -> None:
    assert decode_grant(grant.node_name, encode_grant(grant)) == grant
    assert decode_node_key(encode_node_key(grant.node_key)) == grant.node_key


@modest
@given(grants, st.data())
def test_a_grant_has_one_form(grant: Grant, data: st.DataObject) -> None:
    value = bytearray(encode_grant(grant))
    position = data.draw(st.integers(0, len(value) - 1))
    value[position] ^= data.draw(st.integers(1, 255))
    try:
        read = decode_grant(grant.node_name, bytes(value))
    except ValueError:
        return
    assert read != grant
    assert encode_grant(read) == bytes(value)


@modest
@given(st.binary(max_size=200))
def test_bytes_are_a_no_grant(value: bytes) -> None:
    for prefix in (b"", b"\x0c" + bytes([len(value) + 1 & 0x7F]) + b"{"):
        with pytest.raises(ValueError, match="extension"):
            decode_grant("a1", prefix + value)


@settings(max_examples=30, deadline=None)
@given(grants, st.integers(0, NOW), st.integers(1, 10**9))
def test_certificates_survive_their_form(grant: Grant, start: int, life: int) -> None:
    request = read_request(make_request(IDENTITY, grant.node_name, grant.node_key))
    end = min(start + life, AUTHORITY.not_after)
    der = certificate_der(issue(PEM, KEY, request, grant, not_before=start, not_after=end))
    certificate = AUTHORITY.verify(der)
    assert certificate.grant == grant
    assert certificate.identity_key == request.identity_key == IDENTITY.public
    assert (certificate.not_before, certificate.not_after) == (start, end)


@modest
@given(st.binary(max_size=300))
def test_bytes_are_no_certificate(data: bytes) -> None:
    with pytest.raises(CertificateError):
        AUTHORITY.verify(data)
    with pytest.raises(CertificateError):
        read_request(data)
    with pytest.raises(CertificateError):
        Authority(data)


@modest
@given(mesh_ids, keys)
def test_revocations_survive_their_form(mesh_id: str, key: bytes) -> None:
    assert read_revocation(AUTHORITY, make_revocation(KEY, mesh_id, key)) == Revocation(mesh_id, key)


@modest
@given(st.binary(max_size=600))
def test_bytes_are_no_revocation(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a revocation"):
        read_revocation(AUTHORITY, data)
