# Copyright (c) 2026, The smegmesh maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What modules say of themselves, described once; each module says how far it supports what."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation fragments, one for each kind of module."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status without modifying anything.
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, in diff mode.
  idempotent:
    description:
      - When it runs twice in a row outside check mode with the same arguments, the second run changes nothing.
      - This assumes that nothing else has changed what the module controls or asks.
  platform:
    description: The systems that the module can work on.
"""

    # Added to the above for a module that only looks.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module does not modify state.
  diff_mode:
    support: N/A
    details:
      - This module does not modify state.
  idempotent:
    support: full
    details:
      - This module does not modify state.
"""

    # Added for a module that talks to the agent on the host, or installs it there.
    HOST = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: linux
    details:
      - The agent runs under systemd.
"""

    # Added for a module that adds something to a declared mesh.
    FRAGMENT = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - On a host that has no agent yet, it predicts the file that would be written.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

    # Added for a module whose work is done on the controller alone.
    CONTROLLER = r"""
options: {}
attributes:
  platform:
    support: full
    platforms: all
    details:
      - All work is done on the controller, and no host is talked to.
"""
