"""`ktool secret key`: the key that encrypts all Secrets where they are stored."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from ktool.api.describe import Description
from ktool.api.errors import DONE, ERROR, UsageError, UserError
from ktool.api.masked import UNREADABLE
from ktool.api.obj import Obj
from ktool.api.ref import SECRET
from ktool.cli.plumbing.command import Verb, examples, verbs
from ktool.present import sheet

GROUP = """
ktool secret key status
ktool secret key rotate
ktool secret key rotate --command 'vault read -field=key secret/ktool'
"""
INIT = """
ktool secret key init                    # a file beside the database, for you only
ktool secret key init --passphrase       # asked for, or KTOOL_SECRET_PASSPHRASE
ktool secret key init --environment      # KTOOL_SECRET_KEY: openssl rand -base64 32
ktool secret key init --command 'pass show ktool-key'
"""
ROTATE = """
ktool secret key rotate
ktool secret key rotate --passphrase     # from now on under a passphrase
"""
STATUS = """
ktool secret key status
"""

app = verbs("The key that encrypts Secrets where they are stored.", no_args_is_help=True, epilog=examples(GROUP))

Passphrase = Annotated[bool, typer.Option("--passphrase", help="The key comes from a passphrase (scrypt).")]
Environment = Annotated[bool, typer.Option("--environment", help="The key stands in KTOOL_SECRET_KEY.")]
Command = Annotated[
    str, typer.Option("--command", metavar="COMMAND", help="A command of a key manager prints the key (32 bytes).")
]


@app.callback()
def key() -> None:
    """The key that encrypts Secrets where they are stored."""


@app.command("init", cls=Verb, epilog=examples(INIT))
def init(passphrase: Passphrase = False, environment: Environment = False, command: Command = "") -> int:
    """Choose where the key comes from, before there is any Secret.

    Without it the first Secret makes a key in a file beside the database. The key is not in the database: keep a copy
    of it elsewhere, for without it nobody reads the Secrets again.
    """
    source, argv = _source(passphrase, environment, command)
    from ktool import app as composition

    store, _ = composition.open_registry()
    try:
        if in_use := store.key_in_use():
            raise UserError(f"there is a secret key already, {in_use}; `ktool secret key rotate` replaces it")
        made, _ = store.rekey(source, argv)
    finally:
        store.close()
    print(f"secret key {made} from {_told(source)}")
    return DONE


@app.command("rotate", cls=Verb, epilog=examples(ROTATE))
def rotate(passphrase: Passphrase = False, environment: Environment = False, command: Command = "") -> int:
    """Encrypt all Secrets, and their history, anew under a new key, and forget the old one.

    All of it happens or nothing, also where this is killed. A server goes on meanwhile. A new passphrase is asked for
    (or KTOOL_SECRET_NEW_PASSPHRASE); a new key in KTOOL_SECRET_KEY needs the one before it in KTOOL_SECRET_KEY_OLD.
    """
    source, argv = _source(passphrase, environment, command)
    from ktool import app as composition

    store, _ = composition.open_registry()
    try:
        before = store.key_in_use()
        made, records = store.rekey(source, argv)
    finally:
        store.close()
    print(f"secret key {made} from {_told(source)} replaces {before or 'none'}; {records} records encrypted anew")
    return DONE


@app.command("status", cls=Verb, epilog=examples(STATUS))
def status() -> int:
    """Show which key is in use, where it comes from, and what it cannot read."""
    from ktool import app as composition
    from ktool.api.errors import ApiError

    store, _ = composition.open_registry()
    try:
        in_use, ring = store.key_in_use(), composition.sealing().ring
        found: list[Obj] = store.list(SECRET.prefix)[0]
    finally:
        store.close()
    details = Description()
    details.row("Key", in_use or "none yet; the first Secret makes one")
    try:
        entries = ring.entries()
        mine = [entry for entry in entries if entry.id == in_use]
        details.row("Source", _told(mine[0].source) if mine else "")
        others = [entry.id for entry in entries if entry.id != in_use] if in_use else []
        if others:
            details.row(
                "Also In The File", ", ".join(others) + " (of an interrupted rotation; the next one removes it)"
            )
        problem = ""
    except ApiError as error:
        problem = error.message
    bad = [str(obj[UNREADABLE]) for obj in found if UNREADABLE in obj]
    details.row("Key File", ring.file)
    details.row("Secrets", f"{len(found)} ({len(bad)} cannot be decrypted)" if bad else len(found))
    sys.stdout.write(sheet.text(details))
    for text in [problem, *bad] if problem else bad:
        print(f"error: {text}", file=sys.stderr)
    return ERROR if problem or bad else DONE


def _source(passphrase: bool, environment: bool, command: str) -> tuple[str, list[str]]:
    chosen = [
        name
        for name, given in (("passphrase", passphrase), ("environment", environment), ("command", bool(command)))
        if given
    ]
    if len(chosen) > 1:
        raise UsageError("a key has one source: --passphrase, --environment or --command")
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command: {error}") from None
    if command and not argv:
        raise UsageError("--command is empty")
    return (chosen or ["file"])[0], argv


_TOLD = {
    "file": "the key file",
    "passphrase": "a passphrase",
    "environment": "KTOOL_SECRET_KEY",
    "command": "a command",
}


def _told(source: str) -> str:
    return _TOLD.get(source, source)
