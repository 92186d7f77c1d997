"""`ktool get`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktool.api.errors import DONE, ERROR, ApiError, JsonPathError, UsageError, UserError, is_not_found
from ktool.api.kind import Kind
from ktool.api.obj import Obj
from ktool.api.ref import GroupKind, Ref
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.resourceargs import Wanted
from ktool.manifests.load import load
from ktool.present import output
from ktool.present.columns import KindTable, TableOptions
from ktool.present.output import Output, without_bookkeeping

if TYPE_CHECKING:
    from ktool.registry.client import Client, WatchEvent

app = verbs()

EXAMPLES = """
ktool get pods                                    # the pods of the namespace
ktool get pods,deploy -A -o wide                  # of all namespaces, with more columns
ktool get deploy/web -o yaml
ktool get pods -l app=web --sort-by=.status.podIP
ktool get pods -w                                 # and then what changes
ktool get pods -o custom-columns=NAME:.metadata.name,NODE:.spec.nodeName
ktool get nodes -o jsonpath='{range .items[*]}{.metadata.name}{"\\n"}{end}'
"""


@dataclass(frozen=True)
class Query:
    """What to fetch."""

    wanted: Wanted
    namespace: str | None
    labels: str = ""
    fields: str = ""
    ignore_not_found: bool = False
    as_table: bool = False

    def version(self, kind: Kind) -> str:
        """The version to show: the one asked for, else the preferred one. A table is made of what is stored."""
        return "" if self.as_table else self.wanted.versions.get(kind.gk, kind.preferred)


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def get(
    ctx: typer.Context,
    resources: options.Resources = None,
    files: options.Files = None,
    recursive: options.Recursive = False,
    output_format: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FORMAT",
            help="wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADER:PATH,...",
        ),
    ] = "",
    selector: options.Selector = "",
    field_selector: options.FieldSelector = "",
    all_namespaces: options.AllNamespaces = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Then show every change, until interrupted.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="Show the changes only.")] = False,
    sort_by: Annotated[
        str, typer.Option("--sort-by", metavar="PATH", help="Sort by a JSONPath, e.g. .spec.nodeName.")
    ] = "",
    show_labels: Annotated[bool, typer.Option("--show-labels", help="A last column with all labels.")] = False,
    label_columns: Annotated[
        list[str] | None, typer.Option("-L", "--label-columns", metavar="KEY", help="A column for this label.")
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
    ignore_not_found: options.IgnoreNotFound = False,
) -> int:
    """Show one or many objects."""
    form = output.parse(output_format, headless=no_headers)
    if sort_by:
        _sort_path(sort_by)
    chosen = settings(ctx)
    if files:
        wanted = _of_files(files, recursive, chosen.namespace)
    else:
        wanted = resourceargs.parse(resources, "get")
    if all_namespaces and wanted.objects and any(kind.namespaced for kind, _ in wanted.objects):
        raise UsageError("a resource cannot be retrieved by name across all namespaces")
    if (selector or field_selector) and wanted.objects:
        raise UsageError("selectors may not be used when objects are given by name")
    namespace = None if all_namespaces else chosen.namespace
    query = Query(wanted, namespace, selector, field_selector, ignore_not_found, form.is_table)
    table = TableOptions(
        wide=form.format == "wide",
        all_namespaces=all_namespaces,
        show_labels=show_labels,
        label_columns=tuple(label for given in label_columns or () for label in given.split(",")),
        headless=no_headers,
        with_kind=len({kind.gk for kind in wanted.kinds} | {kind.gk for kind, _ in wanted.objects}) > 1,
    )
    with session(ctx, act=False) as opened:
        if watch or watch_only:
            return _watch(opened.client, query, form, table, only=watch_only)
        return _once(opened.client, query, form, table, sort_by)


def _of_files(files: Sequence[str], recursive: bool, namespace: str) -> Wanted:
    found = load(
        files,
        resourceargs.kinds(),
        namespace=namespace,
        recursive=recursive,
        check_fields=False,
        consequence="nothing was looked up",
    )
    return Wanted(
        objects=tuple((resourceargs.kinds()[Ref.of(one.obj).gk], one.obj["metadata"]["name"]) for one in found)
    )


# --- once --------------------------------------------------------------------------------------------------------


def _once(client: Client, query: Query, form: Output, table: TableOptions, sort_by: str) -> int:
    groups, missing = fetch(client, query)
    found = [obj for _, objects in groups for obj in objects]
    if sort_by:
        groups = [(kind, _sorted(objects, sort_by)) for kind, objects in groups]
        found = _sorted(found, sort_by)
    single = len(query.wanted.objects) == 1
    if form.is_table:
        _print_tables(groups, table)
        if not found and not missing and not query.ignore_not_found:
            print(nothing_found(query), file=sys.stderr)
    elif found or not single:
        shown = [without_bookkeeping(obj) for obj in found]
        sys.stdout.write(form.text(shown, listed=not (single and len(found) == 1)))
    for error in missing:
        print(errors.sentence(error), file=sys.stderr)
    return ERROR if missing else DONE


def fetch(client: Client, query: Query) -> tuple[list[tuple[Kind, list[Obj]]], list[ApiError]]:
    """The objects by kind, and what of the wanted was not found."""
    groups: list[tuple[Kind, list[Obj]]] = []
    for kind in query.wanted.kinds:
        scope = query.namespace if kind.namespaced else None
        listing = client.list(kind.gk, scope, labels=query.labels, fields=query.fields, version=query.version(kind))
        groups.append((kind, sorted(listing.items, key=_order)))
    missing: list[ApiError] = []
    by_kind: dict[GroupKind, tuple[Kind, list[Obj]]] = {}
    for kind, name in query.wanted.objects:
        try:
            ref = resourceargs.ref_of(kind, query.namespace or "", name)
            obj = client.get(ref, version=query.version(kind))
        except ApiError as error:
            if not is_not_found(error):
                raise
            if not query.ignore_not_found:
                missing.append(error)
            continue
        by_kind.setdefault(kind.gk, (kind, []))[1].append(obj)
    return groups + list(by_kind.values()), missing


def _order(obj: Obj) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _print_tables(groups: Sequence[tuple[Kind, list[Obj]]], options: TableOptions) -> None:
    now = time.time()
    shown = [(kind, objects) for kind, objects in groups if objects]
    for index, (kind, objects) in enumerate(shown):
        if index:
            print()
        print("\n".join(KindTable(kind, options).lines(objects, now)))


def nothing_found(query: Query) -> str:
    namespaced = any(kind.namespaced for kind in query.wanted.kinds) or not query.wanted.kinds
    if namespaced and query.namespace:
        return f"No resources found in {query.namespace} namespace."
    return "No resources found"


def _sort_path(text: str) -> Callable[[Obj], list[Any]]:
    from ktool.api.jsonpath.evaluate import find, relaxed

    try:
        path = relaxed(text)
    except JsonPathError as error:
        raise UsageError(f"--sort-by: {error}") from None
    return lambda obj: find(path, obj, obj)


def _sorted(objects: list[Obj], sort_by: str) -> list[Obj]:
    """By the first value at the path; those without one come first, numbers before text."""
    values = _sort_path(sort_by)

    def key(obj: Obj) -> tuple[int, float, str]:
        found = values(obj)
        value = found[0] if found else None
        if value is None or isinstance(value, (dict, list)):
            return (0, 0.0, "")
        if isinstance(value, (bool, int, float)):
            return (1, float(value), "")
        return (2, 0.0, str(value))

    return sorted(objects, key=key)


# --- watch -------------------------------------------------------------------------------------------------------


def _watch(client: Client, query: Query, form: Output, table: TableOptions, *, only: bool) -> int:
    """The table and then a row for each change, until the user has enough."""
    involved = {kind.gk: kind for kind in (*query.wanted.kinds, *(kind for kind, _ in query.wanted.objects))}
    if len(involved) != 1:
        raise UserError("you may only watch a single kind of object at a time")
    (kind,) = involved.values()
    fields = query.fields
    if query.wanted.objects:
        if len(query.wanted.objects) != 1:
            raise UserError("you may only watch a single object, or all objects of a kind, at a time")
        fields = f"metadata.name={query.wanted.objects[0][1]}"
    scope = query.namespace if kind.namespaced else None
    show = _row_printer(kind, form, table)
    version = query.version(kind)
    listing = client.list(kind.gk, scope, labels=query.labels, fields=fields, version=version)
    if query.wanted.objects and not listing.items and not query.ignore_not_found:
        client.get(
            resourceargs.ref_of(kind, query.namespace or "", query.wanted.objects[0][1])
        )  # says that it is not there
    if listing.items and not only:
        show(sorted(listing.items, key=_order))
    changes = partial(client.watch, kind.gk, scope, labels=query.labels, fields=fields, version=version)
    for obj in _changes(changes, listing.resource_version):
        show([obj])
    return DONE


def _changes(watch: Callable[..., Iterator[WatchEvent]], since: str) -> Iterator[Obj]:
    """Every change, over as many watches as it takes."""
    while True:
        for event in watch(since=since):
            since = str(event.obj.get("metadata", {}).get("resourceVersion") or since)
            if event.type != "BOOKMARK":
                yield event.obj


def _row_printer(kind: Kind, form: Output, table: TableOptions) -> Callable[[list[Obj]], None]:
    rows = KindTable(kind, table)

    def show(objects: list[Obj]) -> None:
        if form.is_table:
            print("\n".join(rows.lines(objects, time.time())), flush=True)
            return
        for obj in objects:
            text = form.text([without_bookkeeping(obj)], listed=False)
            sys.stdout.write(f"---\n{text}" if form.format == "yaml" else text)
        sys.stdout.flush()

    return show
