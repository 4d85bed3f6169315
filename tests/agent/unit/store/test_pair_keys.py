"""Preshared keys of pairs: what is kept when they change, and the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from smegmesh.crdt.entry_codec import MAX_PAIRS
from smegmesh.store.errors import StoreError
from smegmesh.store.keys import ensure_keys
from smegmesh.store.pair_keys import Keys, load_pair_keys, renew_pair_keys, save_pair_keys

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ((), ONE, (ONE,)),
        ((ONE,), ONE, (ONE,)),
        ((ONE,), TWO, (TWO, ONE)),
        ((TWO, ONE), TWO, (TWO, ONE)),
        ((TWO, ONE), ONE, (ONE, TWO)),
        ((TWO, ONE), THREE, (THREE, TWO)),
    ],
)
def test_the_key_before_is_kept_for_who_does_not_have_the_newest(
    before: tuple[bytes, ...], wanted: bytes, after: tuple[bytes, ...]
) -> None:
    held: Keys = {"prod": {"a": before, "gone": (ONE,)}, "left": {"a": (ONE,)}}
    assert renew_pair_keys(held, {"prod": {"a": wanted}}) == {"prod": {"a": after}}


def test_there_are_no_more_than_an_entry_can_speak_of() -> None:
    most = {f"h{number}": ONE for number in range(MAX_PAIRS)}
    assert len(renew_pair_keys({}, {"prod": most})["prod"]) == MAX_PAIRS
    with pytest.raises(StoreError, match="mesh prod: 65 preshared keys"):
        renew_pair_keys({}, {"prod": {**most, "more": ONE}})


def test_what_is_written_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    ensure_keys(tmp_path)
    assert load_pair_keys(tmp_path) == {}
    keys = {"prod": {"a": (TWO, ONE)}, "office": {f"h{number}": (ONE, TWO) for number in range(MAX_PAIRS)}}
    save_pair_keys(tmp_path, {"prod": {"a": (ONE,)}})
    save_pair_keys(tmp_path, keys)
    assert load_pair_keys(tmp_path) == keys
    assert (tmp_path / "keys" / "pairs.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["identity.key", "pairs.json", "tunnel.key"]


@pytest.mark.parametrize("text", ["secret", '["secret"]', '{"prod": ["secret"]}', '{"prod": {"a": ["secret"]}}', "{"])
def test_a_damaged_file_is_one_clear_error_without_what_it_holds(tmp_path: Path, text: str) -> None:
    ensure_keys(tmp_path)
    save_pair_keys(tmp_path, {})
    (tmp_path / "keys" / "pairs.json").write_text(text)
    with pytest.raises(StoreError, match="is damaged: remove it") as raised:
        load_pair_keys(tmp_path)
    assert "secret" not in str(raised.value)
