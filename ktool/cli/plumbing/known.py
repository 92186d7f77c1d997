"""The kinds that the running command knows: made when it first asks, forgotten when the next command begins.

`resourceargs` and `command.session` read them; `main.run` forgets them. It imports nothing, because `main` does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ktool.client.kinds import ServerKinds

_known: ServerKinds | None = None


def kinds() -> ServerKinds:
    """The program's own, and those of its server once a word asks for one of them."""
    global _known
    if _known is None:
        from ktool import app

        _known = app.known_kinds()
    return _known


def told() -> ServerKinds:
    """For completion: names without schemas where a server tells them, which is quicker than importing the kinds."""
    global _known
    if _known is None:
        from ktool import app

        _known = app.told_kinds()
    return _known


def forget() -> None:
    global _known
    _known = None
