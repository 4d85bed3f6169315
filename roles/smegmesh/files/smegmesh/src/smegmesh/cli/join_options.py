"""The options of `smegctl mesh join`, `joins` and `approve`."""

from __future__ import annotations

import argparse
from pathlib import Path

_DAYS = 730


def add_join(command: argparse.ArgumentParser) -> None:
    """Of the host that asks."""
    command.add_argument("address", help="a peer that takes requests: host or host:port, 4082 if no port is given")
    command.add_argument("mesh", help="mesh id")
    command.add_argument("--endpoint", help="where others reach this host, which makes it a peer; else it is a client")
    command.add_argument("--authority", default="default", metavar="NAME", help="how this host calls the authority")
    command.add_argument("--authority-fingerprint", metavar="FINGERPRINT", help="the one authority that is taken")
    command.add_argument("--token", metavar="FILE", help="a file with a one-time token, - for standard input")
    command.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="wait so long for the approval")
    command.add_argument("--renew", action="store_true", help="another certificate for a mesh that was joined so")


def add_joins(command: argparse.ArgumentParser) -> None:
    """Of the peer that is asked."""
    what = command.add_mutually_exclusive_group()
    what.add_argument("--import", action="store_true", dest="take", help="take certificates from standard input")
    what.add_argument("--reject", metavar="FINGERPRINT", help="drop a request")


def add_approve(command: argparse.ArgumentParser) -> None:
    """Of where the authority's key is."""
    command.add_argument("chosen", nargs="*", metavar="MESH FINGERPRINT", help="sign this one, and ask nothing")
    command.add_argument("--authority", type=Path, required=True, metavar="DIR", help="with authority.pem and its key")
    command.add_argument("--key", type=Path, metavar="FILE", help="the key, if it is not DIR/authority.key")
    command.add_argument("--mesh", action="append", default=[], help="one more mesh that it may join")
    command.add_argument("--bridge", action="append", default=[], metavar="MESH", help="a mesh that it may bridge")
    command.add_argument("--prefix", action="append", default=[], help="a prefix that it may advertise")
    command.add_argument("--days", type=int, default=_DAYS, help="how long the certificate is valid (%(default)s)")
    command.add_argument("--requests", type=Path, metavar="FILE", help="what `smegctl joins --json` printed at a peer")
    command.add_argument("--output", type=Path, metavar="FILE", help="for the certificates, with --requests")


def add_appoint(command: argparse.ArgumentParser) -> None:
    """Of where the authority's key is: enrollers."""
    command.add_argument("--authority", type=Path, required=True, metavar="DIR", help="with authority.pem and its key")
    command.add_argument("--key", type=Path, metavar="FILE", help="the key, if it is not DIR/authority.key")
    command.add_argument("--mesh", action="append", required=True, help="a mesh that it may admit hosts to")
    command.add_argument("--days", type=int, default=30, help="how long, 90 at most (%(default)s)")


def add_token(command: argparse.ArgumentParser) -> None:
    """Of a peer that is an enroller."""
    command.add_argument("mesh", help="mesh id")
    command.add_argument("--seconds", type=int, default=3600, help="how long it is good (%(default)s)")
