"""What requests say: their query and their bodies, checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from smegmesh.control.answers import did_you_mean
from smegmesh.control.errors import Rejected
from smegmesh.control.operations import Operation, Parameter
from smegmesh.control.types import Member

MAX_BODY = 64 * 1024
_MAX_DEPTH = 16
_JSON = ("application/json", "application/merge-patch+json")
_T = TypeVar("_T", bound=msgspec.Struct)


def check_query(operation: Operation, request: web.Request) -> None:
    """Rejected for a parameter that the operation has not, that is there twice, or has another value than it may."""
    known = {parameter.name: parameter for parameter in operation.query}
    for name in request.query:
        if name not in known:
            raise Rejected(f"unknown parameter {name}", did_you_mean(name, known), 400)
        if len(request.query.getall(name)) > 1:
            raise Rejected(f"parameter {name} is there twice", "give it once", 400)
        _check_value(known[name], request.query[name])


def _check_value(parameter: Parameter, value: str) -> None:
    if parameter.values and value not in parameter.values:
        raise Rejected(f"{value!r} is no {parameter.name}", did_you_mean(value, parameter.values), 400)


async def read_mapping(request: web.Request) -> dict[str, Any]:
    """The JSON object in a body; Rejected if there is none."""
    if request.content_type not in _JSON:
        raise Rejected(f"the body is {request.content_type}", "send application/json, as `curl --json` does", 415)
    try:
        data = msgspec.json.decode(await request.read())
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Rejected(f"the body is not JSON: {error}", "send one JSON object", 400) from None
    if not isinstance(data, dict):
        raise Rejected("the body is no JSON object", "send the keys and their values", 400)
    if _deeper(data, _MAX_DEPTH):
        raise Rejected("the body is nested too deeply", "send what the document /v1/openapi.json says", 400)
    return data


def convert(data: Mapping[str, Any], kind: type[_T]) -> _T:
    """A body as a type; Rejected says which key is unknown or wrong."""
    known = [field.name for field in msgspec.structs.fields(kind)]
    for key in data:
        if key not in known:
            raise Rejected(f"unknown key {key!r}", did_you_mean(key, known))
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Rejected(str(error), "see /v1/openapi.json") from None


def _deeper(data: object, than: int) -> bool:
    level = [data]
    for _depth in range(than):
        level = [below for each in level for below in _below(each)]
        if not level:
            return False
    return True


def _below(data: object) -> Iterable[object]:
    return data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()


def chosen(members: Iterable[Member], query: Mapping[str, str]) -> list[Member]:
    """The members that a query wants."""
    found = list(members)
    for name in ("role", "liveness", "name", "alias"):
        if name in query:
            found = [member for member in found if getattr(member, name) == query[name]]
    if "service" in query:
        found = [member for member in found if query["service"] in member.services]
    if "home" in query:
        found = [member for member in found if query["home"] in (member.home, member.backup)]
    return found


def find(members: Iterable[Member], name: str) -> Member:
    """A member by what is its own before what its certificate says, and that before what it says itself; Rejected."""
    known = list(members)
    for attribute in ("node_key", "name", "alias"):
        found = [member for member in known if getattr(member, attribute) == name]
        if len(found) > 1:
            raise Rejected(f"{len(found)} members are called {name}", "give a node key", 409)
        if found:
            return found[0]
    names = [member.name for member in known]
    raise Rejected(f"no member has the node key, name or alias {name}", _near(name, names), 404)


def _near(name: str, names: list[str]) -> str:
    return did_you_mean(name, names) if len(names) <= 20 else "see the members of the mesh"
