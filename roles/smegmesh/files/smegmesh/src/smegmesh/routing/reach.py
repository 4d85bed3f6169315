"""Whether a mesh is heard at all: a bridge that is cut off from one mesh must not draw the others' packets."""

from __future__ import annotations

PATIENCE = 3.0  # seconds without any link
START = 8.0  # the same after a start


class Reach:
    """Tells links that are being made anew from a mesh that is out of reach. `now` is monotonic seconds.

    It may be out of reach from `until` on.
    """

    def __init__(self, now: float) -> None:
        self.until = now + START
        self._linked = False

    def connected(self, now: float, *, linked: bool, others: bool) -> bool:
        """Whether the mesh is in reach: there is a link, there was one just now, or there is nobody else."""
        if self._linked and not linked:
            self.until = now + PATIENCE
        self._linked = linked
        return linked or not others or now < self.until
