"""What a browser shows of an agent's meshes, and what can be done with it."""

from __future__ import annotations

import base64
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from pictured_agent import PicturedAgent, large, two_meshes
from playwright.sync_api import Page, expect

from conftest import Open, Serve
from smegmesh.control import types
from smegmesh.gossip.view import Liveness

MANY = 3000
DRAWN_WITHIN = 3000.0  # ms from the address to the picture, the whole page loaded for it
FRAME = 16.0  # ms: 60 a second

DRAWN = "() => window.smegmesh && performance.getEntriesByName('drawn')[0]?.startTime"


def drawn(page: Page) -> dict[str, Any]:
    """What the renderer has, with the nodes by name and mesh."""
    found: dict[str, Any] = page.evaluate("() => smegmesh.drawn()")
    found["by_name"] = {(node["id"].partition("/")[0], node["name"]): node for node in found["nodes"]}
    return found


def eventually(page: Page, expression: str, within: float = 10.0) -> Any:
    """What a function says in the page as soon as that is something."""
    end = time.monotonic() + within
    while not (found := page.evaluate(expression)):
        assert time.monotonic() < end, f"not within {within:g} s: {expression}"
        page.wait_for_timeout(20)
    return found


def opened(open_page: Open, url: str, **emulated: Any) -> Page:
    page = open_page(url, **emulated)
    eventually(page, DRAWN)
    page.evaluate("() => new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    return page


async def find(agent: PicturedAgent, name: str, liveness: Liveness) -> None:
    agent.find(name, liveness)


def looks(page: Page, name: str, mesh: str = "prod") -> tuple[str, str]:
    node = drawn(page)["by_name"][mesh, name]
    return node["shape"], node["filling"]


def colour_at(page: Page, x: float, y: float) -> str:
    """The colour of a pixel of the page as it is shown."""
    picture = base64.b64encode(page.screenshot()).decode()
    reader = page.context.browser.new_page()
    try:
        found: str = reader.evaluate(
            """async ([picture, x, y]) => {
                 const image = new Image();
                 image.src = `data:image/png;base64,${picture}`;
                 await image.decode();
                 const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
                 canvas.drawImage(image, 0, 0);
                 const pixel = canvas.getImageData(Math.round(x), Math.round(y), 1, 1).data;
                 return "#" + [...pixel].slice(0, 3).map((part) => part.toString(16).padStart(2, "0")).join("");
               }""",
            [picture, x, y],
        )
        return found
    finally:
        reader.close()


def test_all_that_the_host_knows_is_drawn(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url)
    assert {
        "gw": ("diamond", "full"),
        "a1": ("square", "full"),
        "a3": ("square", "half"),
        "x1": ("triangle", "full"),
        "laptop": ("circle", "full"),
        "old": ("circle", "crossed"),
    }.items() <= {name: looks(page, name) for name in ("gw", "a1", "a3", "x1", "laptop", "old")}.items()
    shown = drawn(page)
    assert {node["id"] for node in shown["nodes"] if ":" in node["id"].partition("/")[0]} == {
        "mesh:lab",
        "mesh:far",
        "prefix:::/0",
        "prefix:2001:db8:10::/48",
    }
    names = {node["id"]: node["name"] for node in shown["nodes"]}
    edges = {(edge["kind"], *sorted((names[edge["source"]], names[edge["target"]]))) for edge in shown["edges"]}
    assert {
        ("home", "a1", "laptop"),
        ("backup", "a2", "laptop"),
        ("home", "a3", "old"),
        ("bridge", "gw", "gw"),
        ("bridge", "b2", "mesh lab"),
        ("exit", "::/0", "x1"),
        ("beyond", "mesh far", "mesh lab"),
    } <= edges
    expect(page.locator("#summary")).to_have_text("2 meshes: 11 members, 9 alive, 1 mute, 1 down")


def test_what_is_drawn_is_on_the_screen(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    for scheme in ("light", "dark"):
        page = opened(open_page, url, color_scheme=scheme)
        node = drawn(page)["by_name"]["prod", "a2"]
        assert colour_at(page, node["x"], node["y"]) == node["color"]
    ground = colour_at(page, node["x"], node["y"] + 60)
    assert ground == "#12161c", "it is dark where the reader wants it so"


def test_a_member_that_dies_is_drawn_so_at_once_and_its_clients_at_their_backup(open_page: Open, serve: Serve) -> None:
    agent = two_meshes()
    url, loop = serve(agent)
    page = opened(open_page, url)
    page.evaluate("() => { window.same = true; }")

    loop.run(find(agent, "a1", Liveness.DOWN))
    row = page.get_by_role("row", name="a1 peer")
    expect(row).to_contain_text("✕ down")
    assert looks(page, "a1") == ("square", "crossed")
    expect(page.locator("#log li").first).to_contain_text("prod: a1 is down")
    expect(page.locator("#news")).to_have_text("prod: a1 is down")
    expect(page.get_by_role("row", name="laptop")).to_contain_text("a2")
    expect(page.locator("#summary")).to_contain_text("2 down")
    assert page.evaluate("() => window.same"), "it was not loaded anew"


def test_who_comes_and_goes_does_so_in_the_picture(open_page: Open, serve: Serve) -> None:
    agent = two_meshes()
    whole = agent.views["prod"]
    url, loop = serve(agent)
    page = opened(open_page, url)

    async def change(view: Any) -> None:
        agent.change(view)

    loop.run(change(agent.without("a2")))
    expect(page.get_by_role("row", name="a2 peer")).to_have_count(0)
    eventually(page, "() => !smegmesh.drawn().nodes.some(({ name }) => name === 'a2')")
    loop.run(change(whole))
    expect(page.get_by_role("row", name="a2 peer")).to_have_count(1)
    eventually(page, "() => smegmesh.drawn().nodes.some(({ name }) => name === 'a2')")


def test_search_finds_by_what_members_say_and_are(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url)
    rows = page.locator("#members th button")
    for words, found in {
        "https": ["a2"],
        "gateway": ["gw (here)"],
        "down": ["old"],
        "client alive": ["laptop", "phone"],
        "2001:db8:10": ["x1 ★ leader"],
        "nobody": [],
    }.items():
        page.get_by_role("searchbox").fill(words)
        expect(rows).to_have_text(found)
        lit = {node["name"] for node in drawn(page)["nodes"] if node["lit"]}
        assert lit == {name.split()[0] for name in found}


def test_by_keyboard_alone(open_page: Open, serve: Serve) -> None:
    agent = two_meshes()
    url, loop = serve(agent)
    page = opened(open_page, url)
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="a3", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    details = page.get_by_role("region", name="a3")
    expect(details).to_contain_text("fd94:2a49:680b:debe:")
    expect(page.get_by_role("heading", name="a3")).to_be_focused()
    loop.run(find(agent, "laptop", Liveness.DOWN))
    expect(page.locator("#summary")).to_contain_text("2 down")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(page.get_by_role("button", name="a3", exact=True)).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("phone")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="phone")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="phone")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_a_click_in_the_picture_opens_what_is_there_and_the_way_to_it(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url)
    node = drawn(page)["by_name"]["prod", "phone"]
    page.mouse.click(node["x"], node["y"])
    details = page.get_by_role("region", name="phone")
    expect(details).to_contain_text("From here: gw → a2 → phone")
    expect(details).to_contain_text("backup")
    names = {node["id"]: node["name"] for node in drawn(page)["nodes"]}
    assert [names[each] for each in drawn(page)["way"]] == ["gw", "a2", "phone"]


def test_a_click_on_what_lies_beyond_draws_the_route_there(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url)
    node = drawn(page)["by_name"]["mesh:far", "mesh far"]
    page.mouse.click(node["x"], node["y"])
    expect(page.locator("#way")).to_have_text("From here: gw → b2 → mesh lab → mesh far")
    expect(page.get_by_role("region", name="mesh far")).to_contain_text("lab → far")


@pytest.mark.parametrize(
    ("route", "way"),
    [
        ("2001:db8:10::/48 by x1", ["gw", "x1", "2001:db8:10::/48"]),
        ("mesh far by b2", ["gw", "b2", "mesh lab", "mesh far"]),
    ],
)
def test_the_path_of_a_route(open_page: Open, serve: Serve, route: str, way: list[str]) -> None:
    agent = two_meshes()
    url, loop = serve(agent)
    page = opened(open_page, url)
    page.get_by_role("button", name=route).focus()
    loop.run(find(agent, "phone", Liveness.DOWN))
    expect(page.locator("#summary")).to_contain_text("2 down")
    page.keyboard.press("Enter")
    expect(page.locator("#way")).to_have_text(f"From here: {' → '.join(way)}")
    shown = drawn(page)
    names = {node["id"]: node["name"] for node in shown["nodes"]}
    edges = [(names[edge["source"]], names[edge["target"]]) for edge in shown["edges"] if edge["kind"] == "way"]
    assert edges == [*pairwise(way)]


def test_one_mesh_of_several(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url)
    page.get_by_label("Mesh").select_option("office")
    expect(page.locator("#members th button")).to_have_text(["b1", "b2 ★ leader", "gw (here)"])
    seen = {node["name"] for node in drawn(page)["nodes"] if not node["hidden"]}
    assert seen == {"b1", "b2", "gw", "mesh lab"}


def test_what_others_say_is_text_and_a_mesh_that_is_not_up_is_named(open_page: Open, serve: Serve) -> None:
    agent = two_meshes()
    agent.failed = [types.Mesh(mesh="third", state="failed", problem="<img src=x onerror=alert(1)>")]
    url, _loop = serve(agent)
    page = opened(open_page, url)
    expect(page.locator("#problems li")).to_have_text(["third: <img src=x onerror=alert(1)>"])
    expect(page.locator("#summary")).to_contain_text("2 meshes")
    assert page.locator("img").count() == 0


def test_without_webgl_the_lists_have_it_all(open_page: Open, complaints: list[str], serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = open_page(url, script="HTMLCanvasElement.prototype.getContext = () => null;")
    expect(page.get_by_text("This browser draws no WebGL")).to_be_visible()
    expect(page.locator("#view")).to_be_hidden()
    page.get_by_role("button", name="mesh far by b2").click()
    expect(page.locator("#way")).to_have_text("From here: gw → b2 → mesh lab → mesh far")
    assert complaints == ["Cannot read properties of null (reading 'getParameter')"], "the library's own, no other"
    complaints.clear()


@pytest.mark.parametrize(("peers", "clients"), [(MANY, 0), (100, MANY - 100)])
def test_a_mesh_of_many_is_there_soon_and_moves_smoothly(
    open_page: Open, serve: Serve, peers: int, clients: int
) -> None:
    url, _loop = serve(large(peers, clients))
    page = open_page(url)
    assert eventually(page, DRAWN) < DRAWN_WITHIN
    kinds = Counter(node["shape"] for node in drawn(page)["nodes"])
    assert kinds == Counter({"square": peers, "circle": clients})
    places = {(round(node["x"], 2), round(node["y"], 2)) for node in drawn(page)["nodes"]}
    assert len(places) > 0.98 * MANY, "each has a place of its own"
    assert frame_cost(page) < FRAME
    page.get_by_role("searchbox").fill("p77")
    expect(page.locator("#members th button").first).to_have_text("p77")


def frame_cost(page: Page) -> float:
    """Processor time, in ms, that the page takes for each frame while somebody zooms in and out.

    What its thread takes, so whatever else runs here does not count, nor does what a graphics card would do.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> float:
        return next(
            each["value"]
            for each in session.send("Performance.getMetrics")["metrics"]
            if each["name"] == "TaskDuration"
        )

    before = busy()
    frames = page.evaluate(_ZOOM)
    return 1000 * (busy() - before) / frames


_ZOOM = """async () => {
  const mouse = document.querySelector("#picture canvas.sigma-mouse");
  const { x, y } = mouse.getBoundingClientRect();
  let frames = 0;
  for (const end = performance.now() + 2000; performance.now() < end; frames++) {
    const deltaY = frames % 20 < 10 ? -100 : 100;
    mouse.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: x + 200, clientY: y + 200, bubbles: true }));
    await new Promise(requestAnimationFrame);
  }
  return frames;
}"""


def test_on_a_phone(open_page: Open, serve: Serve) -> None:
    url, _loop = serve(two_meshes())
    page = opened(open_page, url, viewport={"width": 375, "height": 812}, has_touch=True, is_mobile=True)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 375, "nothing stands out to the side"
    page.get_by_role("button", name="a3", exact=True).tap()
    expect(page.get_by_role("region", name="a3")).to_be_in_viewport()
    expect(page.locator("#picture")).to_be_in_viewport()
    page.get_by_role("button", name="close Esc").tap()
    expect(page.get_by_role("button", name="a3", exact=True)).to_be_in_viewport()


def test_an_agent_that_is_away_is_said_to_be_and_comes_back(
    open_page: Open, complaints: list[str], serve: Serve
) -> None:
    agent = two_meshes()
    url, loop = serve(agent)
    page = opened(open_page, url)
    expect(page.locator("#state")).to_have_text("live")

    async def start_anew(starting: bool) -> None:
        agent.starting = starting
        if starting:
            agent.events.close()
            agent.events = type(agent.events)()

    loop.run(start_anew(True))
    expect(page.locator("#state")).to_have_class("lost", timeout=15_000)
    loop.run(start_anew(False))
    expect(page.locator("#state")).to_have_text("live", timeout=15_000)
    assert all("503 (Service Unavailable)" in each for each in complaints)
    complaints.clear()
