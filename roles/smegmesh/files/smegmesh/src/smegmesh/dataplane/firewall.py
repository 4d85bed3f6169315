"""The agent's own nft table: what is forwarded through mesh interfaces.

Packets of a mesh go from its interface back into the same one, and nowhere else: a client
does not reach its home's own network, nor does that network reach the mesh. The table is
replaced as a whole in one transaction; other tables are not touched.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

from smegmesh.dataplane.plane import PlaneError

TABLE = "smegmesh"
PROGRAM = "nft"
_TIMEOUT = 10.0


def ruleset(devices: Iterable[str]) -> str:
    """The text for `nft -f` that replaces the table by one for these mesh interfaces."""
    rules = "".join(_rules(device) for device in sorted(devices))
    return f"""\
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
    chain forward {{
        type filter hook forward priority -10; policy accept;
{rules}    }}
}}
"""


def _rules(device: str) -> str:
    return f"""\
        iifname "{device}" oifname "{device}" tcp flags syn tcp option maxseg size set rt mtu
        iifname "{device}" oifname "{device}" accept
        iifname "{device}" drop
        oifname "{device}" drop
"""


def install(devices: Iterable[str]) -> None:
    """Put the table in place for these mesh interfaces, in one step. PlaneError if nft refuses it."""
    _nft(["-f", "-"], ruleset(devices))


def remove() -> None:
    """Take the table away; nothing happens if there is none."""
    _nft(["-f", "-"], f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")


def foreign_drops() -> list[str]:
    """Chains of others that drop forwarded IPv6 packets unless a rule of theirs lets them pass.

    Our accept does not outrank them, so their owner must be told.
    """
    return find_drops(json.loads(_nft(["-j", "list", "chains"])))


def find_drops(listing: dict[str, Any]) -> list[str]:
    """`foreign_drops` of what `nft -j list chains` printed."""
    chains = [item["chain"] for item in listing.get("nftables", ()) if "chain" in item]
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if chain.get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["family"] in ("ip6", "inet")
        and (chain["family"], chain["table"]) != ("inet", TABLE)
    ]


def _nft(arguments: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            [PROGRAM, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise PlaneError("nft is not installed: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise PlaneError(f"nft did not answer within {_TIMEOUT:g} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PlaneError(f"nft refused the table {TABLE}: {said[0] if said else 'it said nothing'}")
    return done.stdout
