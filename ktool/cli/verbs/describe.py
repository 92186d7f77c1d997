"""`ktool describe`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.describe import Description
from ktool.api.errors import DONE, ERROR, ApiError, UsageError, is_not_found
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, name, namespace, uid
from ktool.api.ref import EVENT, Ref
from ktool.api.units.duration import since
from ktool.api.world import World
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.resourceargs import Wanted
from ktool.cli.verbs.get import Query, fetch, nothing_found
from ktool.logic.sightings import last_seen, order
from ktool.manifests.load import load
from ktool.present import plain, sheet

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool describe pod web
ktool describe deploy/web node/n1
ktool describe pods -l app=web
ktool describe -f manifests/guestbook
"""

Groups = list[tuple[Kind, list[Obj]]]
Missing = list[ApiError]


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def describe(
    ctx: typer.Context,
    resources: options.Resources = None,
    files: options.Files = None,
    recursive: options.Recursive = False,
    selector: options.Selector = "",
    all_namespaces: options.AllNamespaces = False,
    show_events: Annotated[bool, typer.Option("--show-events/--hide-events", help="With the events.")] = True,
) -> int:
    """Show the details of objects with their events."""
    chosen = settings(ctx)
    if files:
        kinds = resourceargs.kinds()
        found = load(files, kinds, namespace=chosen.namespace, recursive=recursive, check_fields=False, consequence="")
        wanted = Wanted(objects=tuple((kinds[Ref.of(one.obj).gk], name(one.obj)) for one in found))
    else:
        wanted = resourceargs.parse(resources, "describe")
    if all_namespaces and wanted.objects and any(kind.namespaced for kind, _ in wanted.objects):
        raise UsageError("a resource cannot be retrieved by name across all namespaces")
    query = Query(wanted, None if all_namespaces else chosen.namespace, selector)
    with session(ctx, act=False) as opened:
        groups, missing = fetch(opened.client, query)
        if missing and len(wanted.objects) == 1:
            groups, missing = _by_prefix(opened.client, wanted, query, groups, missing)
        texts = [text(opened.client, kind, obj, with_events=show_events) for kind, objects in groups for obj in objects]
    sys.stdout.write("\n\n".join(texts))
    for error in missing:
        print(errors.sentence(error), file=sys.stderr)
    if not texts and not missing:
        print(nothing_found(query), file=sys.stderr)
    return ERROR if missing else DONE


def _by_prefix(
    client: Client, wanted: Wanted, query: Query, groups: Groups, missing: Missing
) -> tuple[Groups, Missing]:
    """kubectl's habit: `describe pod web` where there is no pod web describes those whose name begins with it."""
    ((kind, prefix),) = wanted.objects
    if not is_not_found(missing[0]):
        return groups, missing
    listing = client.list(kind.gk, query.namespace if kind.namespaced else None)
    found = sorted((obj for obj in listing.items if name(obj).startswith(prefix)), key=name)
    return ([(kind, found)], []) if found else (groups, missing)


def text(client: Client, kind: Kind, obj: Obj, *, with_events: bool) -> str:
    """The whole description of one object."""
    now = time.time()
    if kind.looks.describe is None:
        description = plain.describe(obj)
    else:
        where = namespace(obj) or None
        beside = [item for gk in kind.looks.beside for item in client.list(gk, where).items]
        description = kind.looks.describe(obj, World([obj, *beside]), now)
    if with_events and kind.looks.events:
        _events(description, client, obj, now)
    return sheet.text(description)


def _events(description: Description, client: Client, obj: Obj, now: float) -> None:
    selector = f"involvedObject.kind={obj['kind']},involvedObject.name={name(obj)}"
    listed = client.list(EVENT, namespace(obj) or None, fields=selector).items
    # Not those of a predecessor of the same name. Events about nodes may name no uid.
    found = [event for event in listed if get(event, "involvedObject", "uid", default="") in ("", uid(obj))]
    if not found:
        description.row("Events", "")
        return
    rows = [
        (
            str(event.get("type", "")),
            str(event.get("reason", "")),
            _seen(event, now),
            str(get(event, "source", "component") or event.get("reportingComponent") or ""),
            " ".join(str(event.get("message", "")).split()),
        )
        for event in sorted(found, key=order)
    ]
    description.title("Events")
    description.table(("Type", "Reason", "Age", "From", "Message"), rows)


def _seen(event: Obj, now: float) -> str:
    count = int(get(event, "series", "count") or event.get("count") or 1)
    last = since(last_seen(event), now)
    if count <= 1:
        return last
    return f"{last} (x{count} over {since(event.get('firstTimestamp') or event.get('eventTime'), now)})"
