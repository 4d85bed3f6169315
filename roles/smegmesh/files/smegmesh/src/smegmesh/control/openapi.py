"""The API as an OpenAPI 3.1 document, out of its operations and types."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec

import smegmesh
from smegmesh.control import types
from smegmesh.control.operations import CHANGING, READING, STREAM, Body, Operation, Parameter

_PROBLEM = "application/problem+json"
_ALWAYS = (403, 500, 503)
_CHOSEN = ("owner", "mesh")  # of a declaration: by the path
_RESUME = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The last event that the reader has",
    "schema": {"type": "string"},
}
_OF_ROOT = ("pre_up", "post_up", "pre_down", "post_down")


@cache
def document() -> bytes:
    """The whole, as JSON."""
    kinds = [operation.answer for operation in (*READING, *CHANGING) if operation.answer not in (dict, None)]
    bodies = [types.Problem, types.NodeChange, types.ServiceOffer, types.NewToken]
    schemas, components = msgspec.json.schema_components([*kinds, *bodies], ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(map(repr, (*kinds, *bodies)), schemas, strict=True))
    components["Declaration"] = _declaration()
    components["DeclarationChanges"] = _nullable(components["Declaration"])
    paths: dict[str, dict[str, Any]] = {}
    for operation in (*READING, *CHANGING):
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_kind)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "smegmesh agent",
                "version": smegmesh.__version__,
                "description": "Over HTTPS only what reads. See docs/api.md.",
            },
            "servers": [{"url": "/"}],
            "paths": paths,
            "components": {"schemas": components},
        }
    )


def _operation(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = schemas.get(repr(operation.answer), {"type": "object"})
    is_json = operation.answer is not None and STREAM not in operation.kinds
    content = {"application/json": {"schema": answer}} if is_json else {}
    content |= {kind: {"schema": {"type": "string"}} for kind in operation.kinds}
    responses: dict[str, Any] = {str(operation.status): {"description": operation.summary, "content": content}}
    if operation.method == "GET" and STREAM not in operation.kinds:
        responses["304"] = {"description": "Nothing but times and traffic is different from what If-None-Match names"}
    refused = {"schema": schemas[repr(types.Problem)]}
    for status in sorted({*operation.problems, *_ALWAYS}):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": {_PROBLEM: refused}}
    headers = [_RESUME] if STREAM in operation.kinds else []
    described = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            *map(_in_path, re.findall(r"{(\w+)}", operation.path)),
            *map(_in_query, operation.query),
            *headers,
        ],
        "responses": responses,
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _body(operation.body, schemas)}
    return described


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"} | ({"enum": list(parameter.values)} if parameter.values else {})
    return {"name": parameter.name, "in": "query", "description": parameter.summary, "schema": schema}


def _body(body: Body, schemas: dict[str, Any]) -> dict[str, Any]:
    if body in ("revocation", "certificates"):
        return {"text/plain": {"schema": {"type": "string"}}}
    schema = {
        "declaration": {"$ref": "#/components/schemas/Declaration"},
        "changes": {"$ref": "#/components/schemas/DeclarationChanges"},
        "node": schemas[repr(types.NodeChange)],
        "service": schemas[repr(types.ServiceOffer)],
        "token": schemas[repr(types.NewToken)],
    }[body]
    merged = ("application/merge-patch+json",) if body in ("changes", "node") else ()
    return {kind: {"schema": schema} for kind in ("application/json", *merged)}


def _declaration() -> dict[str, Any]:
    """What a declaration may say through the API: the schema of its file, less what is not chosen here."""
    schema: dict[str, Any] = json.loads(files("smegmesh").joinpath("declaration.json").read_text(encoding="utf-8"))
    properties = {key: value for key, value in schema["properties"].items() if key not in (*_CHOSEN, *_OF_ROOT)}
    required = [key for key in schema["required"] if key not in _CHOSEN]
    return {
        "title": "Declaration",
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _nullable(declaration: dict[str, Any]) -> dict[str, Any]:
    """The same as a merge patch: nothing is required, null takes a key out."""
    properties = {key: {"anyOf": [schema, {"type": "null"}]} for key, schema in declaration["properties"].items()}
    return {"title": "DeclarationChanges", "type": "object", "additionalProperties": False, "properties": properties}
