"""Whatever is asked for: what a request changes is what it leaves behind, and nothing is left half done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smegmesh.declaration.change import FileChange, Places, Request, plan_changes, read_request
from smegmesh.declaration.errors import DeclarationError
from smegmesh.declaration.meshes import Source, check_set

PLACES = Places(Path("/etc/smegmesh"), Path("/var/lib/smegmesh/local.d"))
STATES = st.sampled_from(["present", "present", "absent"])
MESHES = st.sampled_from(["a", "b"])
PREFIXES = st.sampled_from(["2001:db8:1::/48", "2001:db8:2::/48"])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    base = {"owner": "role", "role": "peer", "endpoint": "198.18.0.1"}
    declarations = [
        {**base, "mesh": mesh, "state": draw(STATES), "advertise": draw(st.lists(PREFIXES, unique=True))}
        for mesh in sorted(draw(st.sets(MESHES)))
    ]
    fragments: list[dict[str, Any]] = []
    for mesh, name in sorted(draw(st.sets(st.tuples(MESHES, st.sampled_from(["x", "y"])), max_size=2))):
        fragment: dict[str, Any] = {"mesh": mesh, "name": name, "state": draw(STATES)}
        fragment["services"] = {draw(st.sampled_from(["ssh", "web"])): draw(st.sampled_from(["1", "2"]))}
        fragments.append(fragment | {"advertise": draw(st.lists(PREFIXES, unique=True, min_size=1))})
    purge = {"purge_owner": "role"} if draw(st.booleans()) else {}
    return read_request({"declarations": declarations, "fragments": fragments, **purge})


def sources(files: dict[Path, str]) -> list[Source]:
    return [Source(path, text, fragment=PLACES.is_fragment(path)) for path, text in files.items()]


def carry_out(files: dict[Path, str], changes: tuple[FileChange, ...]) -> None:
    for change in changes:
        assert files.get(change.path) == change.before
        if change.after is None:
            del files[change.path]
        else:
            files[change.path] = change.after


@given(st.lists(requests(), max_size=6))
def test_a_host_is_always_as_it_may_be_and_a_second_time_changes_nothing(asked: list[Request]) -> None:
    files: dict[Path, str] = {}
    for request in asked:
        try:
            changes = plan_changes(request, sources(files), PLACES, {})
        except DeclarationError:
            continue
        carry_out(files, changes)
        assert plan_changes(request, sources(files), PLACES, {}) == ()
        loaded = check_set(sources(files))
        assert not loaded.errors
        assert loaded == check_set(reversed(sources(files)))
        for declaration in loaded.declarations:
            added = {prefix for fragment in declaration.fragments for prefix in fragment.advertise}
            assert added <= set(declaration.advertise)
            assert len(set(declaration.advertise)) == len(declaration.advertise)
            assert sorted(declaration.services) == sorted(
                service for fragment in declaration.fragments for service in fragment.services
            )
