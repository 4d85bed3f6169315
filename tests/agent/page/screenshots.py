"""Take the pictures of docs/page.md anew.

python tests/agent/page/screenshots.py
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from pictured_agent import OPTIONS, PicturedAgent, Simulated, large, route, serving
from playwright.sync_api import Browser, Page, sync_playwright

from smegmesh.control import types
from smegmesh.crdt.entry import BridgedRoute, Role
from smegmesh.gossip.view import Liveness

IMAGES = Path(__file__).parents[3] / "docs/images"
DESK, PHONE = (1280, 720), (375, 750)


def site() -> PicturedAgent:
    """Two meshes of some size, as a host sees them that is in both."""
    chance, prod, office = Random(7), Simulated("prod"), Simulated("office")
    states = {4: Liveness.DOWN, 9: Liveness.MUTE}
    peers = [prod.add("gw", bridge=True, routes=(BridgedRoute(("office",)),))]
    peers += [prod.add(f"a{number}", liveness=states.get(number, Liveness.ALIVE)) for number in range(1, 14)]
    peers += [prod.add("x1", advertise=("2001:db8:10::/48", "::/0")), prod.add("x2", advertise=("2001:db8:10::/48",))]
    for number in range(1, 31):
        home, backup = chance.sample(peers, 2)
        down = Liveness.DOWN if number in (11, 23) else Liveness.ALIVE
        prod.add(f"laptop-{number}", Role.CLIENT, down, home=home, backup=backup, services={"ssh": "tcp/22"})
    office.add("gw", bridge=True, routes=(BridgedRoute(("prod",)),))
    desks = [office.add(f"b{number}") for number in range(1, 6)]
    office.add("b6", bridge=True, routes=(BridgedRoute(("lab",)), BridgedRoute(("lab", "far"))))
    for number in range(1, 9):
        home, backup = chance.sample(desks, 2)
        office.add(f"phone-{number}", Role.CLIENT, home=home, backup=backup)
    routes = {
        "office": [route("lab", "b6", "lab"), route("far", "b6", "lab", "far")],
        "prod": [
            types.Route(prefix="2001:db8:10::/48", mesh=None, path=[], via="x2", used=True),
            types.Route(prefix="::/0", mesh=None, path=[], via="x1", used=False),
        ],
    }
    return PicturedAgent("gw", prod, office, routes=routes)


def take(
    browser: Browser,
    agent: PicturedAgent,
    name: str,
    size: tuple[int, int],
    scheme: str,
    act: Callable[[Page], None] = lambda _page: None,
) -> None:
    """One picture, into docs/images."""
    width, height = size
    with TemporaryDirectory() as directory, serving(agent, Path(directory)) as (url, _loop):
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        page.goto(url)
        page.locator("#members tr").first.wait_for()
        act(page)
        page.wait_for_timeout(500)
        page.screenshot(path=IMAGES / f"{name}.png")
        page.close()


def open_route(page: Page) -> None:
    page.get_by_role("button", name="mesh far by b6").click()


def open_client(page: Page) -> None:
    page.get_by_role("searchbox").fill("laptop-12")
    page.get_by_role("button", name="laptop-12").click()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        program = shutil.which("chromium-headless-shell")
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        take(browser, site(), "page-light", DESK, "light")
        take(browser, site(), "page-route", DESK, "dark", open_route)
        take(browser, site(), "page-phone", PHONE, "dark", open_client)
        take(browser, large(300, 2700), "page-3000", DESK, "light")
        browser.close()


if __name__ == "__main__":
    main()
