"""`ktool set env`."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, name
from ktool.api.pod import CONTAINER_GROUPS
from ktool.api.ref import CONFIG_MAP
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.errors import say
from ktool.cli.plumbing.podtemplates import Changes, Meant, chosen, pod_path, split
from ktool.cli.plumbing.targets import each
from ktool.cli.verbs.get import Query
from ktool.logic.pod.podenv import VARIABLE_NAME

EXAMPLES = """
ktool set env deploy/web COLOUR=blue
ktool set env deploy/web COLOUR-                              # take it away
ktool set env deploy/web --list
ktool set env deploy/web --from=configmap/settings --prefix=APP_
"""

_FOREIGN = re.compile(r"[^a-zA-Z0-9_]")


def env(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="KIND/NAME... KEY=VALUE... KEY-...", show_default=False)],
    more: Annotated[
        list[str] | None, typer.Option("-e", "--env", metavar="KEY=VALUE", help="A variable to set; may repeat.")
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="KIND/NAME", help="Take the keys of a ConfigMap or Secret.")
    ] = "",
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Before the names taken --from.")] = "",
    keys: Annotated[str, typer.Option("--keys", metavar="KEY,...", help="Only these keys of --from.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="Show the variables; change nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--no-overwrite", help="Variables that are there may change.")
    ] = True,
    containers: options.Containers = "*",
    selector: options.Selector = "",
    every: options.Every = False,
    dry_run: options.DryRun = "none",
    wait: options.Wait = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Set, take away or list environment variables of containers."""
    resources, updates = split(words)
    sets, gone = _read([*updates, *(more or ())])
    meant = Meant(resources, selector, every, dry_run, wait, timeout)
    if listed:
        return _list(ctx, meant, containers)
    if source:
        sets += _taken(ctx, source, prefix, [key for key in keys.split(",") if key])
    if not sets and not gone:
        raise UsageError("at least one environment variable must be provided")

    def change(kind: Kind, obj: Obj, spec: Obj) -> Changes:
        found = {group: chosen(spec, group, containers) for group in CONTAINER_GROUPS}
        if not any(found.values()):
            say(f'warning: {kind.name}/{name(obj)} does not have any containers matching "{containers}"')
        changes: Changes = {}
        for group, entries in found.items():
            for one in entries:
                if wanted := _changes(one, sets, gone, overwrite):
                    changes.setdefault(group, []).append({"name": one["name"], "env": wanted})
        return changes

    return meant.change(ctx, change, "env updated")


def _read(updates: list[str]) -> tuple[list[Obj], list[str]]:
    """The variables to set, and the names of those to take away."""
    sets: list[Obj] = []
    gone: list[str] = []
    for update in updates:
        key, equals, text = update.partition("=")
        if not equals:
            key = key.removesuffix("-")
            gone.append(key)
        else:
            sets.append({"name": key, "value": text, "valueFrom": None})
        if not VARIABLE_NAME.fullmatch(key):
            raise UsageError(f"{key!r} is not a valid name of an environment variable")
    if both := [entry["name"] for entry in sets if entry["name"] in gone]:
        raise UsageError(f"can not both modify and remove an environment variable in the same command: {both[0]}")
    return sets, gone


def _changes(container: Obj, sets: list[Obj], gone: list[str], overwrite: bool) -> list[Obj]:
    """What to change of a container's variables, as a strategic merge patch."""
    have = {entry["name"]: entry for entry in container.get("env") or ()}
    changes: list[Obj] = []
    for entry in sets:
        old = have.get(entry["name"])
        if old is not None and (old.get("value"), old.get("valueFrom")) == (entry.get("value"), entry.get("valueFrom")):
            continue
        if old is not None and not overwrite:
            raise UserError(f"'{entry['name']}' already has a value ({old.get('value', '')}), and --overwrite is false")
        changes.append(entry)
    return changes + [{"name": key, "$patch": "delete"} for key in gone if key in have]


def _taken(ctx: typer.Context, source: str, prefix: str, keys: list[str]) -> list[Obj]:
    """A variable for each key of a ConfigMap or Secret, named after it as kubectl does: in capitals, with _ for what a
    shell would not take."""
    wanted = resourceargs.parse([source], "take variables from")
    if len(wanted.objects) != 1 or wanted.objects[0][0].name not in ("ConfigMap", "Secret"):
        raise UsageError("--from takes one configmap/NAME or secret/NAME")
    (kind, own), (ref,) = wanted.objects[0], wanted.refs(settings(ctx).namespace)
    with session(ctx, act=False) as opened:
        found = opened.client.get(ref)
    member = "configMapKeyRef" if kind.gk == CONFIG_MAP else "secretKeyRef"
    return [
        {
            "name": prefix + _FOREIGN.sub("_", key).upper(),
            "value": None,
            "valueFrom": {member: {"name": own, "key": key}},
        }
        for key in sorted(found.get("data") or {})
        if not keys or key in keys
    ]


def _list(ctx: typer.Context, meant: Meant, containers: str) -> int:
    def show(kind: Kind, obj: Obj) -> str:
        lines: list[str] = []
        spec = get(obj, *pod_path(kind), default={})
        for one in [found for group in CONTAINER_GROUPS for found in chosen(spec, group, containers)]:
            lines.append(f"# {kind.name} {name(obj)}, container {one['name']}")
            lines += [_line(entry) for entry in one.get("env") or ()]
        return "\n".join(lines)

    wanted = meant.wanted()
    with session(ctx, act=False) as opened:
        code = each(opened.client, Query(wanted, settings(ctx).namespace, meant.selector), show).code
    sys.stdout.flush()
    return code


def _line(entry: Obj) -> str:
    source = entry.get("valueFrom")
    return f"# {entry['name']} from {_reference(source)}" if source else f"{entry['name']}={entry.get('value') or ''}"


def _reference(source: Obj) -> str:
    for member, word in (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")):
        if found := source.get(member):
            return f"{word} {found.get('name')}, key {found.get('key')}"
    if found := source.get("fieldRef"):
        return f"field path {found.get('fieldPath')}"
    found = source.get("resourceFieldRef") or {}
    container = f"{found['containerName']}." if found.get("containerName") else ""
    return f"resource field {container}{found.get('resource', '')}"
