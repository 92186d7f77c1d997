"""`ktool rollout history` and `rollout undo`: the revisions of a workload, and the way back to one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.marks import CHANGE_CAUSE
from ktool.api.obj import Obj, annotations_of, controlled_by, get, name, namespace
from ktool.api.ref import Ref
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.targets import each, kinds_of
from ktool.cli.verbs.apply import SUFFIX
from ktool.cli.verbs.get import Query
from ktool.logic.workload import revisions
from ktool.logic.workload.kinds import REPLICA_SET
from ktool.present import describe_pod, output
from ktool.present.sheet import NONE, Sheet
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
        str, typer.Option("-o", "--output", metavar="FORMAT", help="With --revision: its ReplicaSet as yaml or json.")
    ] = "",
) -> int:
    """List the revisions of a workload and why each was made (annotation kubernetes.io/change-cause)."""
    form = output.parse(output_format, only=("name", "yaml", "json"))
    if revision < 0:
        raise UsageError("revision must be a positive integer")
    if form.format and not revision:
        raise UsageError("-o needs --revision=N: it shows the ReplicaSet of one revision")
    wanted = resourceargs.parse(resources, "list the revisions of")
    _only_with_history(kinds_of(wanted))

    def show(kind: Kind, obj: Obj) -> str:
        known = revisions.history(_replica_sets(opened.client, obj))
        shown = kind.display(name(obj))
        if not revision:
            return f"{shown} \n{_table(known)}"
        found = revisions.to_go_back_to(known, revision)
        if found is None:
            raise UserError("unable to find the specified revision")
        if form.format:
            return form.text([output.without_bookkeeping(found)], listed=False).rstrip("\n")
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
        target = _target(obj, _replica_sets(opened.client, obj), to_revision)
        if get(obj, "spec", "paused", default=False):
            raise UserError(
                "you cannot rollback a paused deployment; resume it first with "
                f"`ktool rollout resume deployment/{name(obj)}` and try again"
            )
        if revisions.same_template(target, obj["spec"]["template"]):
            number = revisions.revision(target)
            return f"{shown} skipped rollback (current template already matches revision {number})"
        if dry_run == "client":
            return f"{shown} {_template(target)}".rstrip("\n")
        # Only what goes back: other fields may change while this is being asked.
        back = revisions.rolled_back(obj, target)
        patch = [
            {"op": "replace", "path": "/spec/template", "value": back["spec"]["template"]},
            {"op": "add", "path": "/metadata/annotations", "value": annotations_of(back)},
        ]
        opened.client.patch(Ref.of(obj), patch, type="json", dry_run=dry_run == "server")
        return f"{shown} rolled back{SUFFIX[dry_run]}"

    with session(ctx, act=dry_run == "none") as opened:
        done = each(opened.client, Query(wanted, settings(ctx).namespace, selector), roll_back)
        if dry_run != "none":
            return done.code
        return converge(opened, done.refs, wait=wait, timeout=patience) or done.code


def _only_with_history(kinds: Iterable[Kind]) -> None:
    for kind in kinds:
        if kind.name != "Deployment":
            raise UserError(f"{kind.resource} have no history of revisions")


def _replica_sets(client: Client, deployment: Obj) -> list[Obj]:
    found = client.list(REPLICA_SET, namespace(deployment)).items
    return [rs for rs in found if controlled_by(rs, deployment)]


def _target(deployment: Obj, sets: list[Obj], number: int) -> Obj:
    found = revisions.to_go_back_to(sets, number)
    if found is not None:
        return found
    if number:
        raise UserError(f"unable to find specified revision {number} in history")
    raise UserError(f'no rollout history found for deployment "{name(deployment)}"')


def _table(known: list[Obj]) -> str:
    rows = [("REVISION", "CHANGE-CAUSE")]
    rows += [(str(revisions.revision(rs)), annotations_of(rs).get(CHANGE_CAUSE) or NONE) for rs in known]
    width = max(len(number) for number, _ in rows) + GAP
    return "".join(f"{number:{width}}{safe(cause)}\n" for number, cause in rows)


def _template(replica_set: Obj) -> str:
    sheet = Sheet()
    template = get(replica_set, "spec", "template", default={})
    if cause := annotations_of(replica_set).get(CHANGE_CAUSE):
        notes = {**annotations_of(template), CHANGE_CAUSE: cause}
        template = {**template, "metadata": {**template.get("metadata", {}), "annotations": notes}}
    describe_pod.template(sheet, template)
    return sheet.text()
