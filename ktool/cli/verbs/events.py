"""`ktool events`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, UsageError
from ktool.api.obj import Obj
from ktool.api.ref import EVENT
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.logic.sightings import order
from ktool.present.columns import KindTable, TableOptions

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool events                          # of the namespace, oldest first
ktool events --for pod/web -w         # about one object, and what is still to come
ktool events -A --types=Warning
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def events(
    ctx: typer.Context,
    about: Annotated[str, typer.Option("--for", metavar="KIND/NAME", help="About this object only.")] = "",
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Then show every new one, until interrupted.")] = False,
    all_namespaces: options.AllNamespaces = False,
    types: Annotated[str, typer.Option("--types", metavar="TYPE,...", help="Normal, Warning or both.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> int:
    """List events, oldest first."""
    allowed = {options.choice(word.capitalize(), ("Normal", "Warning"), "--types") for word in types.split(",") if word}
    kind = resourceargs.kind_named("events")
    namespace = None if all_namespaces else settings(ctx).namespace
    fields = _about(about)
    table = KindTable(kind, TableOptions(all_namespaces=all_namespaces, headless=no_headers))
    with session(ctx, act=False) as opened:
        listing = opened.client.list(EVENT, namespace, fields=fields)
        found = [event for event in sorted(listing.items, key=order) if _wanted(event, allowed)]
        if found:
            print("\n".join(table.lines(found, time.time())), flush=True)
        elif not watch:
            where = f" in {namespace} namespace." if namespace else ""
            errors.say(f"No events found{where}")
        if watch:
            _follow(opened.client, table, namespace, fields, allowed, listing.resource_version)
    return DONE


def _about(text: str) -> str:
    if not text:
        return ""
    word, slash, name = text.partition("/")
    if not slash or not word or not name:
        raise UsageError(f"--for takes KIND/NAME such as pod/web, not {text!r}")
    return f"involvedObject.kind={resourceargs.kind_named(word).name},involvedObject.name={name}"


def _wanted(event: Obj, allowed: set[str]) -> bool:
    return not allowed or event.get("type") in allowed


def _follow(
    client: Client, table: KindTable, namespace: str | None, fields: str, allowed: set[str], since: str
) -> None:
    while True:
        for event in client.watch(EVENT, namespace, fields=fields, since=since):
            since = str(event.obj.get("metadata", {}).get("resourceVersion") or since)
            if event.type in ("ADDED", "MODIFIED") and _wanted(event.obj, allowed):
                print("\n".join(table.lines([event.obj], time.time())), flush=True)
