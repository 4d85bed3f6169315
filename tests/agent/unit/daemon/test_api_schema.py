"""The API held against its own document: whatever is asked, the answer is one that the document has."""

from __future__ import annotations

import asyncio
import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import requests
import schemathesis
from daemons import MESH, Make, Run, eventually
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

EXAMPLES = 16
HERE = "office"  # a mesh that the test declares through the API
KNOWN = (
    {"mesh": MESH, "member": "p1", "prefix": "2001:db8:10::/48", "service": "https"},
    {"mesh": HERE, "member": "web", "prefix": "2001:db8:10::/48", "service": "https"},
)
ENDLESS = "events"  # has a test of its own


class _Connection(HTTPConnection):
    """A connection to a Unix socket, whatever the URL says."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


class _Pool(HTTPConnectionPool):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def _new_conn(self) -> Any:
        return _Connection(self._path)


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pool = _Pool(path)

    def get_connection_with_tls_context(self, *_arguments: Any, **_more: Any) -> Any:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


def hold(path: Path) -> list[str]:
    """Ask everything that the document has, and some things that it has not; the operations that were asked."""
    with requests.Session() as session:
        session.mount("http://", _Adapter(path))
        document = session.get("http://localhost/v1/openapi.json").json()
        declaration = {"role": "peer", "endpoint": "127.0.0.1", "alias": "web"}
        session.put(f"http://localhost/v1/meshes/{HERE}", json=declaration).raise_for_status()
        schema = schemathesis.openapi.from_dict(document)
        asked = []
        for result in schema.get_all_operations():
            operation = result.ok()
            name = operation.definition.raw["operationId"]
            if name != ENDLESS:
                _hold_operation(operation, session)
                asked.append(name)
        return asked


def _hold_operation(operation: Any, session: requests.Session) -> None:
    valid = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    kinds = (
        valid,
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        *(valid.map(partial(_with, known)) for known in KNOWN),
    )

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=one_of(*kinds))
    def ask(case: Any) -> None:
        # What a declaration may say no schema can say whole: valid by the document may be wrong all the same (422).
        case.call_and_validate(base_url="http://localhost", session=session, excluded_checks=[positive_data_acceptance])

    ask()


def _with(known: dict[str, str], case: Any) -> Any:
    """The same about what there is."""
    case.path_parameters.update({name: known[name] for name in case.path_parameters.keys() & known.keys()})
    return case


def test_every_answer_is_one_that_the_document_has(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        agent.certify(prefixes=("2001:db8:10::/48",))
        await agent.start()
        await eventually(lambda: agent.alive(1), "it is up")
        asked = await asyncio.to_thread(hold, agent.directories.run / "api.sock")
        assert len(asked) > 20
        assert agent.alive(1), "nothing of that took it out of what Ansible declares"

    run(test)


def test_the_document_is_valid(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        await agent.start()
        document = json.loads(await asyncio.to_thread(_document, agent.directories.run / "api.sock"))
        schemathesis.openapi.from_dict(document).validate()

    run(test)


def _document(path: Path) -> bytes:
    with requests.Session() as session:
        session.mount("http://", _Adapter(path))
        return session.get("http://localhost/v1/openapi.json").content
