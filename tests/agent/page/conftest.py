"""The page in a real browser, headless, on a real agent's server; no console error is let pass."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pictured_agent import OPTIONS, Loop, PicturedAgent, serving
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "daemon"))

Open = Callable[..., Page]
Serve = Callable[[PicturedAgent], tuple[str, Loop]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium-headless-shell")
    assert program, "no chromium-headless-shell here: `make test-page` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of: nothing, or what a test expects and takes out."""
    return []


def is_complaint(said: ConsoleMessage) -> bool:
    """Whether something said on the console is one; that WebGL is slow without a graphics card is none."""
    return said.type in ("error", "warning") and "GPU stall" not in said.text


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve an agent's page: its address, and the loop in which the agent must be changed."""
    with ExitStack() as stack:
        yield lambda agent: stack.enter_context(serving(agent, tmp_path))


@pytest.fixture
def open_page(browser: Browser, complaints: list[str], serve: Serve) -> Iterator[Open]:
    """Open the page at an address; what it complains of fails the test, and so does a request to anybody else.

    `serve` goes on until the page is closed.
    """
    contexts = []

    def open_it(url: str, script: str = "", **emulated: Any) -> Page:
        emulated = {"viewport": {"width": 1200, "height": 800}, "reduced_motion": "reduce"} | emulated
        context = browser.new_context(**emulated)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        page.set_default_timeout(10_000)
        page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(url) else complaints.append(asked.url))
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
