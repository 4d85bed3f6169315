"""The page of a real agent, while a real member dies."""

from __future__ import annotations

from pathlib import Path

from daemons import MESH, Agent, Operator
from pictured_agent import Loop, forwarded
from playwright.sync_api import expect

from conftest import Open

TOLD_WITHIN = 30_000  # ms; observers are patient for some seconds


def test_a_member_dies_in_front_of_the_reader(open_page: Open, tmp_path: Path) -> None:
    operator = Operator()
    p1, _p2, p3 = agents = [Agent(name, tmp_path / name, operator) for name in ("p1", "p2", "p3")]
    for agent in agents:
        agent.declare(*(other for other in agents if other is not agent))
    with Loop() as loop:
        try:
            for agent in agents:
                loop.run(agent.start())
            with forwarded(loop, p1.directories.run / "api.sock") as url:
                page = open_page(url)
                expect(page.locator("#summary")).to_contain_text("3 members, 3 alive", timeout=TOLD_WITHIN)
                loop.run(die(p3))
                row = page.get_by_role("row", name="p3")
                expect(row).to_contain_text("✕ down", timeout=TOLD_WITHIN)
                drawn = page.evaluate("() => smegmesh.drawn().nodes.find(({ name }) => name === 'p3')")
                assert drawn["filling"] == "crossed"
                loop.run(p3.start())
                expect(row).to_contain_text("● alive", timeout=TOLD_WITHIN)
                page.context.close()
        finally:
            for agent in agents:
                loop.run(agent.stop())


async def die(agent: Agent) -> None:
    """As by a power cut: no restart is announced to anybody."""
    assert agent.daemon is not None
    agent.daemon._meshes[MESH].engine.announce_restart = lambda _now: None
    await agent.stop()
