"""Commands for what this host says of itself in a mesh: its node, services and prefixes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smegmesh.cli.command import Answer, Command, add_mesh
from smegmesh.cli.errors import BadInput

if TYPE_CHECKING:
    from smegmesh.control.client import Client


def change(options: argparse.Namespace, ask: Callable[[Client], dict[str, Any]], told: str) -> Answer:
    """Have the agent change something; what it finds wrong with that is BadInput."""
    from smegmesh.control.client import Client
    from smegmesh.control.errors import Refused

    try:
        return Answer(ask(Client(options.socket)), told)
    except Refused as error:
        if error.status in (400, 422):
            raise BadInput("", error.what, error.fix) from error
        raise


def _add_node(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("--alias", help='a second, short name: a DNS label; "" for none')
    parser.add_argument("--description", metavar="TEXT", help='for people; "" for none')


def _set_node(options: argparse.Namespace) -> Answer:
    given = {"alias": options.alias, "description": options.description}
    changes = {key: value or None for key, value in given.items() if value is not None}
    if not changes:
        raise BadInput("node set", "nothing is to be changed", "give --alias, --description or both")
    told = " and ".join(f"{key} {value!r}" if value else f"no {key}" for key, value in changes.items())
    done = f"this host has {told} in mesh {options.mesh}"
    return change(options, lambda client: client.describe(options.mesh, changes), done)


def _add_service(parser: argparse.ArgumentParser) -> None:
    _add_service_name(parser)
    parser.add_argument("value", help="what it is: tcp/443 for DNS to find its port, or any text")


def _add_service_name(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("service", help="its name, a DNS label")


def _offer(options: argparse.Namespace) -> Answer:
    told = f"this host offers {options.service} ({options.value}) in mesh {options.mesh}"
    return change(options, lambda client: client.offer(options.mesh, options.service, options.value), told)


def _withhold(options: argparse.Namespace) -> Answer:
    told = f"this host offers {options.service} no more in mesh {options.mesh}"
    return change(options, lambda client: client.withhold(options.mesh, options.service), told)


def _services(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import table, use_colour
    from smegmesh.control.client import Client

    services = Client(options.socket).services(options.mesh)
    head = ("NAME", "VALUE", "MEMBER", "STATE", "ADDRESS", "NOTE")
    keys = ("name", "value", "member", "liveness", "address")
    rows = [[*(each.get(key) for key in keys), "this host" if each.get("own") else ""] for each in services]
    return Answer(services, table(head, rows, use_colour()) if services else "nobody offers a service")


def _add_prefix(parser: argparse.ArgumentParser) -> None:
    add_mesh(parser)
    parser.add_argument("prefix", help="an IPv6 prefix outside the overlay, which the host's certificate must grant")


def _advertise(options: argparse.Namespace) -> Answer:
    told = f"this host advertises {options.prefix} in mesh {options.mesh}"
    return change(options, lambda client: client.advertise(options.mesh, options.prefix), told)


def _withdraw(options: argparse.Namespace) -> Answer:
    told = f"this host advertises {options.prefix} no more in mesh {options.mesh}"
    return change(options, lambda client: client.withdraw(options.mesh, options.prefix), told)


def _routes(options: argparse.Namespace) -> Answer:
    from smegmesh.cli.output import use_colour
    from smegmesh.cli.show import routes_text
    from smegmesh.control.client import Client

    routes = Client(options.socket).routes(options.mesh)
    return Answer(routes, routes_text(routes["advertised"], routes["reached"], use_colour()))


_SOCKET = ("socket",)
COMMANDS = (
    Command("node set", "this host's alias and description in a mesh", _set_node, _add_node, _SOCKET),
    Command("service list", "what the members of a mesh offer", _services, add_mesh, _SOCKET),
    Command("service add", "offer a service", _offer, _add_service, _SOCKET),
    Command("service remove", "offer it no more", _withhold, _add_service_name, _SOCKET),
    Command("route list", "the prefixes outside a mesh, both ways", _routes, add_mesh, _SOCKET),
    Command("route add", "advertise a prefix that this host forwards to", _advertise, _add_prefix, _SOCKET),
    Command("route remove", "advertise it no more", _withdraw, _add_prefix, _SOCKET),
)
