"""The names of whole daemons, asked for on their port, and what a resolvectl that only writes it down is told."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode
import pytest
from daemons import MESH, Agent, Make, Run, eventually, free_port

from smegmesh.cli.status import status_text

HOST = "127.0.0.1"
RESOLVECTL = """\
#!/bin/sh
echo "$@" >> {log}
if [ -e {failing} ] && [ "$1" != revert ]; then
  echo "Failed to set DNS configuration: Access denied" >&2
  exit 1
fi
"""


def offer(agent: Agent, port: int, more: str = "") -> None:
    with (agent.directories.etc / "agent.yml").open("a") as file:
        file.write(f'dns: {{listen: "{HOST}:{port}"{more}}}\n')


async def ask(port: int, name: str, rrtype: str = "AAAA", *, tcp: bool = False) -> list[str] | str:
    """The data of the answer, or its code if there is none."""
    query = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    answer = await query(dns.message.make_query(name, rrtype, use_edns=0), HOST, 5, port)
    return sorted(each.to_text() for rrset in answer.answer for each in rrset) or dns.rcode.to_text(answer.rcode())


def test_members_are_found_by_name_and_lost_when_the_mesh_is_left(run: Run) -> None:
    async def test(make: Make) -> None:
        first, second, port = make("p1"), make("p2"), free_port()
        first.declare(second)
        second.declare(first, alias="web")
        (second.meshes_directory / f"{MESH}.d").mkdir()
        (second.meshes_directory / f"{MESH}.d" / "service-https.yml").write_text(
            "owner: play\nservices: {https: tcp/443 path=/}\n"
        )
        offer(first, port)
        await asyncio.gather(first.start(), second.start())
        await eventually(lambda: first.alive(2), "they see each other")
        address = (await first.ask(lambda client: client.members(MESH)))[1]["address"]
        for tcp in (False, True):
            assert await ask(port, "web.prod.smeg", tcp=tcp) == [address]
            assert await ask(port, "p2.PROD.smeg", tcp=tcp) == [address]
            assert await ask(port, "_https._tcp.prod.smeg", "SRV", tcp=tcp) == ["0 0 443 p2.prod.smeg."]
        assert first.mesh().names == []
        first.declare(second, alias="web")
        await first.ask(lambda client: client.reload())
        assert len(await ask(port, "web.prod.smeg")) == 2
        told = status_text(await first.ask(lambda client: client.status()), False)
        assert "prod: names: web is the alias of " in told
        second.file().unlink()
        shutil.rmtree(second.meshes_directory / f"{MESH}.d")
        await second.ask(lambda client: client.reload())
        await eventually(lambda: first.alive(1), "the other has left")
        assert await ask(port, "p2.prod.smeg") == "NXDOMAIN"
        first.file().unlink()
        await first.ask(lambda client: client.reload())
        assert await ask(port, "p1.prod.smeg") == "REFUSED"

    run(test)


def test_names_are_there_through_a_new_start_of_their_mesh(run: Run) -> None:
    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        offer(agent, port, ", domain: mesh.test")
        agent.declare()
        await agent.start()
        await eventually(lambda: agent.alive(1), "it is up")
        agent.declare(mtu=1380)
        await agent.ask(lambda client: client.reload())
        await eventually(lambda: agent.alive(1), "it is up again")
        assert await ask(port, "p1.prod.mesh.test") == [agent.mesh().address]

    run(test)


def test_they_are_off_unless_they_are_asked_for(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        assert daemon._names is None
        assert "dns-listen" not in {task.get_name() for task in asyncio.all_tasks()}

    run(test)


def test_a_port_that_cannot_be_had_is_told_and_stops_no_mesh(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        with (agent.directories.etc / "agent.yml").open("a") as file:
            file.write('dns: {listen: "[::]:53"}\n')
        await agent.start()
        await eventually(lambda: agent.mesh().state == "up", "it is up")
        assert "smegd: dns: :: is every address" in status_text(await agent.ask(lambda client: client.status()), False)

    run(test)


def test_dig_agrees(run: Run) -> None:
    def dig(port: int, *arguments: str) -> str:
        command = ["dig", f"@{HOST}", "-p", str(port), "+time=5", "+tries=1", "+norecurse", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        agent.declare(alias="web")
        offer(agent, port)
        await agent.start()
        await eventually(lambda: agent.alive(1), "it is up")
        address = agent.mesh().address
        assert await asyncio.to_thread(dig, port, "+short", "web.prod.smeg", "AAAA") == f"{address}\n"
        assert await asyncio.to_thread(dig, port, "+short", "+tcp", "-x", address) == "p1.prod.smeg.\n"
        nobody = await asyncio.to_thread(dig, port, "nobody.prod.smeg", "AAAA")
        assert "status: NXDOMAIN" in nobody
        assert "flags: qr aa;" in nobody
        assert "WARNING" not in nobody
        assert "EDNS: version: 0, flags:; udp: 1232" in nobody

    run(test)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a resolvectl was told; it fails while there is a file `failing` beside."""
    log = tmp_path / "told"
    program = tmp_path / "bin" / "resolvectl"
    program.parent.mkdir()
    program.write_text(RESOLVECTL.format(log=log, failing=log.with_name("failing")))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def commands(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_systemd_resolved_is_told_of_each_interface_and_told_to_forget_it(run: Run, told: Path) -> None:
    async def test(make: Make) -> None:
        agent, port = make("p1"), free_port()
        offer(agent, port, ", resolved: true")
        agent.declare()
        agent.declare(mesh="office", interface="smeg-o")
        await agent.start()
        await eventually(lambda: "dnsovertls smeg-o no" in commands(told), "the second is told of")
        await eventually(lambda: "dnsovertls smeg-prod no" in commands(told), "the first is told of")
        said = commands(told)
        assert f"dns smeg-prod {HOST}:{port}" in said
        assert any(line.startswith("domain smeg-prod ~prod.smeg ~") and line.endswith(".ip6.arpa") for line in said)
        assert {"default-route smeg-prod false", "dnssec smeg-prod no"} <= set(said)
        agent.file("office").unlink()
        await agent.ask(lambda client: client.reload())
        await eventually(lambda: commands(told)[-6:].count("revert smeg-o"), "the mesh that was left is taken back")
        assert not any(line.startswith("revert smeg-prod") for line in commands(told))
        await agent.stop()
        assert commands(told)[-1] == "revert smeg-prod"
        assert agent.daemon is None

    run(test)


def test_why_systemd_resolved_could_not_be_told(run: Run, told: Path) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        told.with_name("failing").touch()
        offer(agent, free_port(), ", resolved: true")
        agent.declare()
        daemon = await agent.start()
        await eventually(lambda: daemon.status().problems, "it is told")
        (problem,) = daemon.status().problems
        assert problem.startswith("resolved: resolvectl dns smeg-prod ")
        assert problem.endswith(": Failed to set DNS configuration: Access denied")
        assert agent.mesh().state == "up"

    run(test)


def test_a_host_without_resolvectl(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        offer(agent, free_port(), ", resolved: true")
        agent.declare()
        daemon = await agent.start()
        await eventually(lambda: daemon.status().problems, "it is told")
        assert daemon.status().problems == ["resolved: there is no resolvectl: set smegmesh_dns_resolved to false"]

    monkeypatch.setenv("PATH", str(tmp_path))
    run(test)
