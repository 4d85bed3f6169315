"""Links between the repository's pages lead somewhere: to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page
    for room in (".", "docs", "roles", "extensions", "inventories")
    for page in (ROOT.glob("*.md") if room == "." else (ROOT / room).rglob("*.md"))
)

_CODE = re.compile(r"^( *)(```|~~~).*?^\1\2\s*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2\s*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


def _links(text: str) -> Iterator[str]:
    """Where a page's links lead within the repository; what stands in code is none."""
    return (link for link in _LINK.findall(_CODE.sub("", text)) if not _ELSEWHERE.match(link))


def _anchors(text: str) -> set[str]:
    """The names that GitHub gives headings: lower case, without punctuation, numbered from the second of a kind on."""
    found: dict[str, int] = {}
    anchors = set()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        anchors.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return anchors


def _broken(page: Path, text: str) -> list[str]:
    broken = []
    for link in _links(text):
        path, _hash, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and anchor not in _anchors(target.read_text(encoding="utf-8")):
            broken.append(f"{link}: no such heading")
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert _broken(page, page.read_text(encoding="utf-8")) == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `two`: three\n# One two three\n```\n# no heading\n```\n")
    text = page.read_text()
    good = "[a](#one-two-three) [b](page.md#one-two-three-1) [c](https://example.org/#x) `[d](nowhere.md)`"
    assert _broken(page, text + good) == []
    assert _broken(page, text + "[e](#no-heading) [f](nowhere.md)") == [
        "#no-heading: no such heading",
        "nowhere.md: no such file",
    ]
