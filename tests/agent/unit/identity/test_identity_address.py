"""Mesh ids and addresses, against the published vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smegmesh.identity.address import check_mesh_id, mesh_prefix, node_address
from smegmesh.identity.keys import decode_key

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "addresses.json").read_text())


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["address"])
def test_published_vectors(vector: dict[str, str]) -> None:
    assert str(mesh_prefix(vector["mesh_id"])) == vector["prefix"]
    assert str(node_address(vector["mesh_id"], decode_key(vector["node_key"]))) == vector["address"]


@pytest.mark.parametrize("mesh_id", VECTORS["bad_mesh_ids"])
def test_bad_mesh_ids_are_refused_with_what_and_how(mesh_id: str) -> None:
    with pytest.raises(ValueError, match="use a name like 'prod'") as caught:
        check_mesh_id(mesh_id)
    assert repr(mesh_id) in str(caught.value)
    with pytest.raises(ValueError, match="use a name like 'prod'"):
        mesh_prefix(mesh_id)


def test_limits_of_mesh_ids() -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(longest) == 253
    assert check_mesh_id(longest) == longest
    with pytest.raises(ValueError, match="more than 253"):
        check_mesh_id(longest + "b")


def test_an_address_needs_a_raw_key() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 44"):
        node_address("prod", b"A" * 44)
