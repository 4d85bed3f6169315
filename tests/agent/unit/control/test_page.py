"""The page as it is served: what a browser gets, what it may do with it, and what a page may not ask for."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import re
import socket
from pathlib import Path

import pytest
from control_agent import running

import smegmesh.control

UI = Path(smegmesh.control.__file__).with_name("ui")
WHOLE = 400_000  # bytes


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


async def ask(path: Path, method: str, target: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    def request() -> tuple[http.client.HTTPResponse, bytes]:
        connection = _Connection(path)
        try:
            connection.request(method, target, headers={name.replace("_", "-"): headers[name] for name in headers})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(request)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sock"


async def test_a_browser_may_load_only_what_the_agent_serves(path: Path) -> None:
    async with running(path):
        response, body = await ask(path, "GET", "/")
        assert response.status == 200
        assert response.getheader("Content-Type") == "text/html; charset=utf-8"
        policy = response.getheader("Content-Security-Policy", "").split("; ")
        assert {"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} <= {*policy}
        assert "unsafe" not in "".join(policy)
        assert b"<style" not in body
        assert not re.search(rb"<script[^>]*>[^<]|style=|\son\w+=", body), "nothing that the policy would not let run"


async def test_everything_that_the_page_names_is_there(path: Path) -> None:
    named = {"/"} | {
        f"/ui/{found}"
        for file in [*UI.glob("*.html"), *UI.glob("*.js")]
        for found in re.findall(r'"(?:/ui|\.)/([\w./]+)', file.read_text())
    }
    assert len(named) > 8
    async with running(path):
        for target in named:
            response, body = await ask(path, "GET", target)
            assert (response.status, bool(body)) == (200, True), target


async def test_who_has_a_file_is_not_sent_it_again(path: Path) -> None:
    async with running(path):
        response, body = await ask(path, "GET", "/ui/main.js", Accept_Encoding="gzip")
        assert response.getheader("Content-Encoding") == "gzip"
        assert gzip.decompress(body) == (UI / "main.js").read_bytes()
        tag = response.getheader("ETag", "")
        response, body = await ask(path, "GET", "/ui/main.js", If_None_Match=tag, Accept_Encoding="gzip")
        assert (response.status, body) == (304, b"")
        response, body = await ask(path, "HEAD", "/ui/main.js")
        assert (response.status, body) == (200, b"")


@pytest.mark.parametrize(
    "target", ["/ui/", "/ui/../access.py", "/ui/%2e%2e/access.py", "/ui/vendor/packages.json", "/x"]
)
async def test_nothing_else_is_served(path: Path, target: str) -> None:
    async with running(path):
        response, _body = await ask(path, "GET", target)
        assert response.status == 404


async def test_the_page_is_there_while_the_agent_starts(path: Path) -> None:
    async with running(path) as agent:
        agent.starting = True
        assert [(await ask(path, "GET", target))[0].status for target in ("/", "/ui/main.js", "/v1/status")] == [
            200,
            200,
            503,
        ]


async def test_a_page_in_a_browser_changes_nothing(path: Path) -> None:
    async with running(path) as agent:
        for origin in ("https://example.org", "http://localhost:4081", "null"):
            response, body = await ask(path, "POST", "/v1/reload", Origin=origin)
            assert response.status == 403
            assert b"a page in a browser may only read" in body
        assert agent.reloads == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:4081", 200),
        ("127.0.0.1:4081", 200),
        ("[::1]:4081", 200),
        ("smegd", 200),
        ("agent.localhost", 200),
        ("example.org:4081", 421),
        ("127.0.0.1.example.org", 421),
        ("[", 421),
    ],
)
async def test_a_public_name_that_leads_here_reads_nothing(path: Path, host: str, status: int) -> None:
    async with running(path):
        for target in ("/", "/v1/status"):
            response, _body = await ask(path, "GET", target, Host=host)
            assert response.status == status


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in UI.rglob("*") if file.is_file()) < WHOLE


def test_each_library_has_its_licence() -> None:
    libraries = [file.name.partition(".")[0] for file in (UI / "vendor").glob("*.js")]
    assert sorted(libraries) == ["graphology", "sigma"]
    for name in libraries:
        assert "Permission is hereby granted" in (UI / "vendor" / f"{name}.LICENSE.txt").read_text()
