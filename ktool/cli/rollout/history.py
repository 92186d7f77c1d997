"""`ktool rollout history` and `rollout undo`: the revisions of a workload, and the way back to one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from ktool.api.describe import NONE, Description
from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.marks import CHANGE_CAUSE
from ktool.api.obj import Obj, annotations_of, controlled_by, get, name, namespace
from ktool.api.ref import Ref
from ktool.api.workload import History, Revision
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.targets import each, kinds_of
from ktool.cli.verbs.apply import SUFFIX
from ktool.cli.verbs.get import Query
from ktool.logic.pod import podlooks
from ktool.present import output, sheet
from ktool.present.table import safe
from ktool.registry.client import Client

HISTORY = """
ktool rollout history deploy/web
ktool rollout history deploy/web --revision=3    # its pod template
ktool rollout history deploy/web --revision=3 -o yaml
"""
UNDO = """
ktool rollout undo deploy/web                    # to the revision before this one
ktool rollout undo deploy/web --to-revision=3
ktool rollout undo deploy/web --dry-run=server
"""
GAP = 2


def history(
    ctx: typer.Context,
    resources: options.Resources = None,
    revision: Annotated[
        int, typer.Option("--revision", metavar="N", help="Show this revision in detail.", show_default=False)
    ] = 0,
    selector: options.Selector = "",
    output_format: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="FORMAT", help="With --revision: the object that keeps it, as yaml or json."
        ),
    ] = "",
) -> int:
    """List the revisions of a workload and why each was made (annotation kubernetes.io/change-cause)."""
    form = output.parse(output_format, only=("name", "yaml", "json"))
    if revision < 0:
        raise UsageError("revision must be a positive integer")
    if form.format and not revision:
        raise UsageError("-o needs --revision=N: it shows the object that keeps one revision")
    wanted = resourceargs.parse(resources, "list the revisions of")
    _only_with_history(kinds_of(wanted))

    def show(kind: Kind, obj: Obj) -> str:
        known = _revisions(opened.client, kind, obj)
        shown = kind.display(name(obj))
        if not revision:
            return f"{shown} \n{_table(known)}"
        found = next((one for one in known if one.number == revision), None)
        if found is None:
            raise UserError("unable to find the specified revision")
        if form.format:
            return form.text([output.without_bookkeeping(found.record)], listed=False).rstrip("\n")
        return f"{shown} with revision #{revision}\n{_template(found)}"

    with session(ctx, act=False) as opened:
        return each(opened.client, Query(wanted, settings(ctx).namespace, selector), show).code


def undo(
    ctx: typer.Context,
    resources: options.Resources = None,
    to_revision: Annotated[
        int,
        typer.Option(
            "--to-revision", metavar="N", help="The revision to return to (0: the one before).", show_default=False
        ),
    ] = 0,
    selector: options.Selector = "",
    dry_run: options.DryRun = "none",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is rolled out.")] = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Return to an earlier revision."""
    options.dry_run(dry_run)
    patience = seconds(timeout, "--timeout")
    if to_revision < 0:
        raise UsageError("--to-revision must be 0 or more")
    wanted = resourceargs.parse(resources, "roll back")
    _only_with_history(kinds_of(wanted))

    def roll_back(kind: Kind, obj: Obj) -> str:
        shown = kind.display(name(obj))
        target = _target(kind, obj, _revisions(opened.client, kind, obj), to_revision)
        if get(obj, "spec", "paused", default=False):
            raise UserError(
                f"you cannot rollback a paused {kind.singular}; resume it first with "
                f"`ktool rollout resume {kind.singular}/{name(obj)}` and try again"
            )
        patch = _history(kind).back(obj, target)
        if patch is None:
            return f"{shown} skipped rollback (current template already matches revision {target.number})"
        if dry_run == "client":
            return f"{shown} {_template(target)}".rstrip("\n")
        opened.client.patch(Ref.of(obj), patch, type="json", dry_run=dry_run == "server")
        return f"{shown} rolled back{SUFFIX[dry_run]}"

    with session(ctx, act=dry_run == "none") as opened:
        done = each(opened.client, Query(wanted, settings(ctx).namespace, selector), roll_back)
        if dry_run != "none":
            return done.code
        return converge(opened, done.refs, wait=wait, timeout=patience) or done.code


def _only_with_history(kinds: Iterable[Kind]) -> None:
    for kind in kinds:
        _history(kind)


def _history(kind: Kind) -> History:
    if kind.workload is None or kind.workload.history is None:
        raise UserError(f"{kind.resource} have no history of revisions")
    return kind.workload.history


def _revisions(client: Client, kind: Kind, obj: Obj) -> list[Revision]:
    history = _history(kind)
    records = [one for one in client.list(history.records, namespace(obj)).items if controlled_by(one, obj)]
    return history.revisions(obj, records)


def _target(kind: Kind, obj: Obj, known: list[Revision], number: int) -> Revision:
    """The revision of a number; for 0 the one before the last."""
    if number:
        found = next((one for one in known if one.number == number), None)
    else:
        found = known[-2] if len(known) > 1 else None
    if found is not None:
        return found
    if number:
        raise UserError(f"unable to find specified revision {number} in history")
    raise UserError(f'no rollout history found for {kind.singular} "{name(obj)}"')


def _table(known: list[Revision]) -> str:
    rows = [("REVISION", "CHANGE-CAUSE"), *((str(one.number), one.cause or NONE) for one in known)]
    width = max(len(number) for number, _ in rows) + GAP
    return "".join(f"{number:{width}}{safe(cause)}\n" for number, cause in rows)


def _template(revision: Revision) -> str:
    details, template = Description(), revision.template
    if revision.cause:
        notes = {**annotations_of(template), CHANGE_CAUSE: revision.cause}
        template = {**template, "metadata": {**template.get("metadata", {}), "annotations": notes}}
    podlooks.template(details, template)
    return sheet.text(details)
