"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and how to mend it, in one line each.

    `id` is stable: scripts and pages name it. An `error` is in the way of packets or members now, a
    `warning` will be, or may be meant. `mesh` and `peer` say where, None for the host as a whole and for no peer.
    """

    id: str
    severity: Severity
    what: str
    fix: str
    mesh: str | None = None
    peer: str | None = None
