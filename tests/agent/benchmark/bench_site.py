"""The playbook `site` on ten hosts in containers: what a run costs, and whom another host changes.

    python tests/agent/benchmark/bench_site.py [INVENTORY JOINING]

measures that alone. The hosts of INVENTORY are made and removed; JOINING is an inventory on top, which declares
one host more.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from section import Figure, Section

ROOT = Path(__file__).resolve().parents[3]
INVENTORY, JOINING = (ROOT / "tests/agent/benchmark/site" / name for name in ("hosts.yml", "eleventh.yml"))
TASKS = 20  # that a host may run when nothing is to be done
_PATIENCE = 1800  # seconds for one playbook
_RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+) ", re.MULTILINE)
METHOD = """\
`playbooks/site.yml` on {hosts} hosts in containers on this machine, by ssh, with the forks of `ansible.cfg` (30). All
share its processors, so what hosts of their own would do beside each other takes longer here. The tasks are those that
Ansible's recap counts as `ok` for a host; one that is skipped costs nothing on it. The first run makes the authority,
and finds built what earlier ones have fetched. After the second another host is declared, and `site` is run on all."""


@dataclass(frozen=True)
class Run:
    """What a run of a playbook took: seconds, and by host its tasks and those of them that changed something."""

    seconds: float
    tasks: dict[str, int]
    changed: dict[str, int]

    @property
    def changed_hosts(self) -> list[str]:
        return [host for host, changes in self.changed.items() if changes]


def measure(inventory: Path = INVENTORY, joining: Path = JOINING) -> Section:
    """Make the hosts, run `site` three times, and remove them."""
    with tempfile.TemporaryDirectory() as authorities, hosts(inventory):
        variables = (f"smegmesh_authority_dir={authorities}",)
        first, second = (play("site", inventory, variables=variables) for _ in range(2))
        joined = play("site", inventory, joining, variables=variables)
    members = len(first.changed_hosts)
    figures = (
        Figure("first run", first.seconds),
        Figure("second run", second.seconds),
        Figure("second run: tasks on a host", max(second.tasks.values()), "tasks", bound=TASKS),
        Figure("second run: hosts with a change", len(second.changed_hosts), "hosts", bound=0),
        Figure("one host more: hosts with a change", len(joined.changed_hosts), "hosts", bound=1, at_least=1),
    )
    return Section(f"`site` on {members} hosts", METHOD.format(hosts=members), figures)


@contextmanager
def hosts(inventory: Path) -> Iterator[None]:
    """Hosts that have seen no playbook; what an interrupted run left is removed before."""
    remove = ("smegmesh_lab_state=absent",)
    play("lab", inventory, variables=remove)
    try:
        play("lab", inventory)
        yield
    finally:
        play("lab", inventory, variables=remove)


def play(playbook: str, *inventories: Path, variables: tuple[str, ...] = ()) -> Run:
    """Run one of the collection's playbooks; RuntimeError with its words if it fails."""
    command = ["ansible-playbook", str(ROOT / f"playbooks/{playbook}.yml")]
    command += [word for inventory in inventories for word in ("-i", str(inventory))]
    command += [word for variable in variables for word in ("-e", variable)]
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    recap = [(host, int(ok), int(changed)) for host, ok, changed, *_rest in _RECAP.findall(done.stdout)]
    return Run(seconds, {host: ok for host, ok, _ in recap}, {host: changed for host, _, changed in recap})


if __name__ == "__main__":
    print(measure(*map(Path, sys.argv[1:])).text())
