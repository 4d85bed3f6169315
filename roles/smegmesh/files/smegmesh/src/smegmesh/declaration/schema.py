"""JSON Schema (the package's *.json files) -> one clear error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from smegmesh.declaration.document import Document, Where, where_text
from smegmesh.declaration.errors import DeclarationError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_TYPE_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping (key: value)",
}


@cache
def read_schema(name: str) -> dict[str, Any]:
    """The schema `declaration`, `fragment` or `agent`, as the package holds it."""
    schema: dict[str, Any] = json.loads(files("smegmesh").joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return schema


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(read_schema(name))


def check_schema(document: Document, name: str) -> Mapping[str, Any]:
    """The document's data if it follows the schema `name`; else DeclarationError for its first fault."""
    if document.data is None or document.data == {}:
        raise DeclarationError(document.file, "", "is empty", f"write the keys it needs: {_required(name)}")
    # A misspelt key is told before the key that is missing because of it.
    faults = sorted(
        _validator(name).iter_errors(document.data),
        key=lambda fault: (fault.validator != "additionalProperties", [str(part) for part in fault.absolute_path]),
    )
    if faults:
        raise _explain(document, faults[0])
    assert isinstance(document.data, dict)
    return document.data


def _required(name: str) -> str:
    return ", ".join(read_schema(name)["required"])


def _explain(document: Document, fault: ValidationError) -> DeclarationError:
    where: Where = tuple(fault.absolute_path)
    schema: Mapping[str, Any] = fault.schema  # type: ignore[assignment]
    if fault.validator == "additionalProperties":
        return _unknown_key(document, where, fault, schema)
    if fault.validator == "required":
        return _missing_key(document, where, fault, schema)
    if fault.validator == "type":
        return _wrong_type(document, where, fault, schema)
    what = f"{_written(document, where, fault.instance)} {_violation(fault)}"
    return DeclarationError(document.file, where_text(where), what, _example(schema))


def _unknown_key(
    document: Document, where: Where, fault: ValidationError, schema: Mapping[str, Any]
) -> DeclarationError:
    import difflib  # seldom needed, and not small

    known = list(schema["properties"])
    assert isinstance(fault.instance, dict)
    key = next(str(key) for key in fault.instance if key not in known)
    near = difflib.get_close_matches(key, known, 1)
    fix = f"did you mean `{near[0]}`?" if near else f"the keys are {', '.join(known)}"
    return DeclarationError(document.file, where_text((*where, key)), f"unknown key `{key}`", fix)


def _missing_key(
    document: Document, where: Where, fault: ValidationError, schema: Mapping[str, Any]
) -> DeclarationError:
    assert isinstance(fault.instance, dict)
    key = next(str(key) for key in schema["required"] if key not in fault.instance)
    fix = _example(schema["properties"][key], key)
    return DeclarationError(document.file, where_text((*where, key)), f"key `{key}` is missing", fix)


def _wrong_type(
    document: Document, where: Where, fault: ValidationError, schema: Mapping[str, Any]
) -> DeclarationError:
    wanted = schema["type"]
    names = [_TYPE_NAMES[each] for each in ([wanted] if isinstance(wanted, str) else wanted)]
    value = fault.instance
    text = document.texts.get(where, "")
    what = f"must be {' or '.join(names)}, not {_type_name(value)}"
    if wanted == "string" and text and isinstance(value, (bool, int, float)):
        what = f"must be text, but YAML reads `{text}` as {_type_name(value)}"
        return DeclarationError(document.file, where_text(where), what, f'write it in quotes: "{text}"')
    if wanted in ("integer", "number", "boolean") and isinstance(value, str):
        shown = "" if schema.get("writeOnly") else f" ({value!r})"  # what was meant may be a secret
        return DeclarationError(document.file, where_text(where), what + shown, _unquoted(wanted, schema))
    return DeclarationError(document.file, where_text(where), what, _example(schema))


def _unquoted(wanted: str, schema: Mapping[str, Any]) -> str:
    return "write true or false, without quotes" if wanted == "boolean" else f"no quotes; {_example(schema)}"


def _type_name(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number"
    if isinstance(value, float):
        return "a number"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "a mapping"


def _written(document: Document, where: Where, value: object) -> str:
    text = document.texts.get(where, value if isinstance(value, str) else json.dumps(value))
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"


def _violation(fault: ValidationError) -> str:
    limit: Any = fault.validator_value
    if fault.validator == "enum":
        return f"is none of {', '.join(map(str, limit))}"
    if fault.validator == "pattern":
        return "is not of the form it needs"
    if fault.validator in ("minimum", "maximum"):
        return f"is out of range (the {fault.validator} is {limit})"
    if fault.validator in ("minLength", "maxLength"):
        return f"is too {'short' if fault.validator == 'minLength' else 'long'} ({limit} characters)"
    if fault.validator in ("minItems", "minProperties"):
        return f"has too few items (at least {limit})"
    return f"has too many items (at most {limit})"


def _example(schema: Mapping[str, Any], key: str | None = None) -> str:
    description = schema.get("description", "")
    examples = schema.get("examples")
    if not examples:
        return f"give {description}" if description else "mend it"
    shown = examples[0] if isinstance(examples[0], str) else json.dumps(examples[0])
    prefix = f"{key}: " if key else ""
    return f"{description}, for example `{prefix}{shown}`" if description else f"for example `{prefix}{shown}`"
