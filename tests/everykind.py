"""The kinds of the program, for tests."""

from __future__ import annotations

import ktool.kinds
from ktool.api.kinds import discover

KINDS = discover(ktool.kinds)
