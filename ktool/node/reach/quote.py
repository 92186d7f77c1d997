"""Shell quoting: the only place where a command given as a list becomes text for a remote shell. node/reach/ssh calls
it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def command_line(argv: Sequence[str]) -> str:
    """A command line with which a POSIX login shell runs exactly `argv`: no member is expanded, split or joined.

    An SSH exec request carries a string which the login shell reads (RFC 4254, section 6.5; sshd(8)), so a list must be
    quoted once. Raises ValueError for what no exec can carry: an empty list, an empty program or a NUL byte.
    """
    if not argv or not argv[0]:
        raise ValueError("a command needs a program")
    if any("\0" in word for word in argv):
        raise ValueError("a command cannot hold a NUL byte")
    return shlex.join(argv)
