"""Every error that smegctl may end with says what to do: where it is raised, and in what `--json` prints of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import smegmesh
from smegmesh.cli import apply, errors, failing
from smegmesh.control import errors as control_errors
from smegmesh.control import join_client
from smegmesh.declaration import errors as declaration_errors
from smegmesh.store import errors as store_errors

ROOT = Path(smegmesh.__file__).parent
ROOMS = (errors, apply, control_errors, join_client, declaration_errors, store_errors)
RAISING = ("cli", "control", "daemon", "declaration", "store")
CLASSES = {
    name: each
    for room in ROOMS
    for name, each in vars(room).items()
    if inspect.isclass(each) and issubclass(each, Exception)
}


def made(tree: ast.AST) -> Iterator[tuple[ast.Call, type[Exception]]]:
    """Where such errors are made."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in CLASSES:
                yield node, CLASSES[name]


def fix_of(call: ast.Call, kind: type[Exception]) -> ast.expr | None:
    """The argument that is the fix; None where it is in several at once (`*split_fix(error)`)."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    named = {keyword.arg or "": keyword.value for keyword in call.keywords}
    given: ast.expr = inspect.signature(kind).bind(*call.args, **named).arguments["fix"]
    return given


def test_whoever_raises_an_error_says_what_to_do() -> None:
    found, without = 0, []
    for path in (path for room in RAISING for path in sorted((ROOT / room).rglob("*.py"))):
        for call, kind in made(ast.parse(path.read_text())):
            found += 1
            fix = fix_of(call, kind)
            if isinstance(fix, ast.Constant) and not fix.value:
                without.append(f"{path.relative_to(ROOT)}:{call.lineno}: {kind.__name__}")
    assert found > 100, "they are found"
    assert without == []


@pytest.mark.parametrize("kind", [each for each in CLASSES.values() if each is not control_errors.Rejected])
def test_the_fix_of_every_error_is_printed(kind: type[Exception]) -> None:
    parameters = inspect.signature(kind).parameters
    error = kind(**{name: 404 if name == "status" else f"the {name}" for name in parameters})
    failure = failing.explain(error)
    assert failure is not None
    assert failure.fix == "the fix" and "the what" in failure.message
    assert failure.line.endswith(f"{failure.message}: the fix")
