"""Fragments: what tasks and the API add to the declaration of a mesh, and how they unite with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from smegmesh.crdt.entry_codec import MAX_ROUTES, MAX_SERVICES, MAX_TEXT
from smegmesh.declaration.document import Document
from smegmesh.declaration.errors import DeclarationError, ManagedElsewhere
from smegmesh.declaration.parse import check_description, parse_advertised
from smegmesh.declaration.schema import check_schema
from smegmesh.declaration.values import Declaration, Fragment, Prefix, Service


def parse_fragment(document: Document, mesh: str) -> Fragment:
    """Check one fragment of a mesh by itself; DeclarationError for its first fault."""
    data = check_schema(document, "fragment")
    check_description(document, data)
    if data.keys() <= {"owner"}:
        fix = "write for example `services: {https: tcp/443}` or `advertise: [2001:db8:10::/48]`, or remove it"
        raise DeclarationError(document.file, "", "declares nothing", fix)
    return Fragment(
        file=document.file,
        alias=data.get("alias"),
        description=data.get("description"),
        advertise=parse_advertised(document, mesh, data.get("advertise", [])),
        services=_services(document, data.get("services", {})),
    )


def _services(document: Document, given: Mapping[str, str]) -> tuple[Service, ...]:
    for name, value in given.items():
        if len(value.encode()) > MAX_TEXT:
            what = f"is longer than {MAX_TEXT} bytes in UTF-8"
            raise DeclarationError(document.file, f"services.{name}", what, "shorten it")
    return tuple(Service(name, given[name]) for name in sorted(given))


def unite(declaration: Declaration, fragments: Iterable[Fragment]) -> Declaration:
    """The declaration with its fragments, in this order; DeclarationError where two say the same, or all too much.

    A prefix may be in several files: it is advertised as long as it is in one.
    """
    advertise: dict[Prefix, None] = dict.fromkeys(declaration.advertise)
    services: dict[str, tuple[str, str]] = {}  # name -> value, and the file that it is in
    united = tuple(fragments)
    for fragment in united:
        advertise |= dict.fromkeys(fragment.advertise)
        for name, value in fragment.services:
            if name in services:
                what = f"service {name} is declared in {services[name][1]} already"
                raise ManagedElsewhere(fragment.file, f"services.{name}", what, "keep one of the two")
            services[name] = value, fragment.file
        _check_number(declaration, fragment, "advertise", len(advertise), MAX_ROUTES)
        _check_number(declaration, fragment, "services", len(services), MAX_SERVICES)
    return replace(
        declaration,
        alias=_said_once(declaration, united, "alias"),
        description=_said_once(declaration, united, "description"),
        advertise=tuple(advertise),
        services=tuple(Service(name, services[name][0]) for name in sorted(services)),
        fragments=united,
    )


def _said_once(declaration: Declaration, fragments: Iterable[Fragment], key: str) -> str | None:
    """The value of a key that one file may say."""
    said: str | None = getattr(declaration, key)
    file = declaration.file
    for fragment in fragments:
        value: str | None = getattr(fragment, key)
        if value is None:
            continue
        if said is not None:
            raise ManagedElsewhere(fragment.file, key, f"{key} is declared in {file} already", "keep one of the two")
        said, file = value, fragment.file
    return said


def _check_number(declaration: Declaration, fragment: Fragment, key: str, number: int, most: int) -> None:
    if number > most:
        what = f"together with {declaration.file} and its other fragments there are more than {most}"
        raise DeclarationError(fragment.file, key, what, "take some out")
