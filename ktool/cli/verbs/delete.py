"""`ktool delete`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ERROR, ApiError, UsageError, is_not_found
from ktool.api.kind import Kind
from ktool.api.obj import uid
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.converge import end
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.errors import warn
from ktool.cli.verbs.apply import SUFFIX
from ktool.follow.wait import Departure
from ktool.manifests.load import load
from ktool.present import output

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool delete pod web                    # by name
ktool delete deploy/web configmap/settings
ktool delete -f manifests/guestbook     # what a folder holds
ktool delete pods -l app=web --now
ktool delete deployments --all --wait=false
"""

CASCADES = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
    "true": "Background",
    "false": "Orphan",
}


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def delete(
    ctx: typer.Context,
    resources: options.Resources = None,
    files: options.Files = None,
    recursive: options.Recursive = False,
    selector: options.Selector = "",
    field_selector: options.FieldSelector = "",
    every: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    all_namespaces: options.AllNamespaces = False,
    grace_period: Annotated[
        int,
        typer.Option(
            "--grace-period", metavar="SECONDS", help="Seconds an object has to end; -1: its own.", show_default=False
        ),
    ] = -1,
    now: Annotated[bool, typer.Option("--now", help="Same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="End at once, without waiting for the node to agree.")] = False,
    cascade: Annotated[
        str, typer.Option("--cascade", metavar="background|foreground|orphan", help="What becomes of owned objects.")
    ] = "background",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until they are gone.")] = True,
    timeout: options.Timeout = "0",
    dry_run: options.DryRun = "none",
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="name only.")] = "",
    ignore_not_found: options.IgnoreNotFound = False,
) -> int:
    """Delete objects by name, label or manifest."""
    form = output.parse(output_format, only=("name",))
    options.dry_run(dry_run)
    patience = seconds(timeout, "--timeout")
    propagation = CASCADES[options.choice(cascade, tuple(CASCADES), "--cascade")]
    grace = _grace(grace_period, now, force)
    chosen = settings(ctx)
    if files and resources:
        raise UsageError("either -f or names, not both")
    _check_choice(files, resources, selector or field_selector, every, all_namespaces)
    refs = _in_files(files, recursive, chosen.namespace, bool(chosen.chosen_namespace)) if files else []
    with session(ctx, act=dry_run == "none") as opened:
        if not files:
            namespace = None if all_namespaces else chosen.namespace
            refs = _chosen(opened.client, resources or [], namespace, selector, field_selector)
        if not refs and not files:
            print("No resources found", file=sys.stderr)
        deletion = _Deletion(opened.client, grace, propagation, dry_run, ignore_not_found or every)
        bare, word = form.format == "name", "force deleted" if force and grace == 0 else "deleted"
        if not wait or dry_run != "none":
            return deletion.run(refs, bare, word)
        dependents = opened.acting and propagation != "Orphan"
        with Departure(opened.client, refs, dependents=dependents) as departure:
            code = deletion.run(refs, bare, word)
            return end(opened, departure, deletion.targets, patience) or code


def _check_choice(
    files: Sequence[str] | None, resources: Sequence[str] | None, selector: str, every: bool, everywhere: bool
) -> None:
    if files:
        if selector or every or everywhere:
            raise UsageError("-f says what to delete; it goes with none of --all, -A and selectors")
        return
    wanted = resourceargs.parse(resources, "delete")
    if wanted.objects and (selector or every):
        raise UsageError("names and a selector or --all exclude each other: the names say what to delete")
    if wanted.objects and everywhere and any(kind.namespaced for kind, _ in wanted.objects):
        raise UsageError("a resource cannot be deleted by name across all namespaces")
    if wanted.kinds and not selector and not every:
        raise UsageError("resource(s) were provided, but no name was specified; give names, -l SELECTOR or --all")
    if selector and every:
        raise UsageError("setting 'all' parameter but found a non empty selector; use one of them")


def _grace(period: int, now: bool, force: bool) -> int | None:
    if now and period >= 0:
        raise UsageError("--now and --grace-period exclude each other")
    if now:
        return 1
    if force:
        warn(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. "
            "The resource may continue to run on the cluster indefinitely."
        )
        return max(period, 0)
    if period == 0:
        return 1  # kubectl: nothing without --force ends before the node says so
    return None if period < 0 else period


def _in_files(files: Sequence[str], recursive: bool, namespace: str, chosen: bool) -> list[Ref]:
    """What the manifests name, in the reverse of the order in which it would be applied."""
    found = load(
        files,
        resourceargs.kinds(),
        namespace=namespace,
        namespace_chosen=chosen,
        recursive=recursive,
        check_fields=False,
        consequence="nothing was deleted",
    )
    return [Ref.of(manifest.obj) for manifest in reversed(found) if manifest.obj["metadata"].get("name")]


def _chosen(
    client: Client, resources: Sequence[str], namespace: str | None, selector: str, field_selector: str
) -> list[Ref]:
    wanted = resourceargs.parse(resources, "delete")
    if wanted.objects:
        return wanted.refs(namespace or "")
    refs: list[Ref] = []
    for kind in sorted(wanted.kinds, key=lambda kind: -kind.apply_order):
        scope = namespace if kind.namespaced else None
        listing = client.list(kind.gk, scope, labels=selector, fields=field_selector)
        refs += sorted(Ref.of(item) for item in listing.items)
    return refs


class _Deletion:
    """Asks for the deletion of objects one by one. `targets`: those that were there, by uid."""

    def __init__(self, client: Client, grace: int | None, propagation: str, dry_run: str, tolerant: bool) -> None:
        self._client, self._grace, self._propagation = client, grace, propagation
        self._dry_run, self._tolerant = dry_run, tolerant
        self.targets: dict[Ref, str] = {}

    def run(self, refs: Sequence[Ref], bare: bool, word: str) -> int:
        code = DONE
        for ref in refs:
            kind = self._client.kinds[ref.gk]
            try:
                if self._dry_run == "client":
                    gone = self._client.get(ref)
                else:
                    gone = self._client.delete(
                        ref, grace=self._grace, propagation=self._propagation, dry_run=self._dry_run == "server"
                    )
            except ApiError as error:
                if is_not_found(error) and self._tolerant:
                    continue
                print(errors.sentence(error), file=sys.stderr)
                code = ERROR
                continue
            self.targets[ref] = uid(gone)
            print(kind.display(ref.name) if bare else f'{_resource(kind)} "{ref.name}" {word}{SUFFIX[self._dry_run]}')
        sys.stdout.flush()
        return code


def _resource(kind: Kind) -> str:
    """`pod`, `deployment.apps`: as kubectl names what it deleted."""
    return f"{kind.singular}.{kind.group}" if kind.group else kind.singular
