"""StoreError: a failure of the database itself, as one plain sentence. Free of SQLAlchemy, so that client/local and
serve/ can catch it cheaply.
"""

from __future__ import annotations


class StoreError(Exception):
    """The database cannot be opened, read or written. The message is one sentence with the likely fix."""


_SENTENCES = (
    ("file is not a database", "{where} is not a ktool database: move it away, or name another state directory"),
    ("malformed", "the database {where} is damaged: restore it from a copy, or move it away to start afresh"),
    ("disk is full", "no space is left for the database {where}: free some space and try again; nothing was changed"),
    ("unable to open", "the database {where} cannot be opened: check that its directory exists and is yours"),
    ("readonly", "the database {where} cannot be written: check its owner, its mode and the file system"),
    ("locked", "the database {where} stays locked: another process has been writing for too long, try again"),
    (
        "disk i/o error",
        "the disk under the database {where} reports an error: check the file system",
    ),
)


def explained(error: BaseException, where: str) -> StoreError:
    """The StoreError sentence for a database driver's error; `where` is the file or URL."""
    text = str(getattr(error, "orig", None) or error)
    for sign, sentence in _SENTENCES:
        if sign in text.lower():
            return StoreError(sentence.format(where=where))
    return StoreError(f"the database {where} gave an error: {text}")
