"""`ktool apply`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, ApiError, UsageError, UserError, is_not_found
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.follow.configrollouts import followers
from ktool.manifests.load import Manifest, load, refused
from ktool.present import output
from ktool.registry.client import Applied

if TYPE_CHECKING:
    from ktool.registry.client import Client

app = verbs()

EXAMPLES = """
ktool apply -f manifests/guestbook        # a folder
ktool apply -f web.yaml -f settings.yaml
ktool apply -f . -R --dry-run=server      # what would happen, pod by pod
ktool apply -f web.yaml --wait --rollback-on-failure
cat web.yaml | ktool apply -f -
"""

SUFFIX = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def apply(
    ctx: typer.Context,
    files: options.Files = None,
    recursive: options.Recursive = False,
    dry_run: options.DryRun = "none",
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until all is as desired (without a server that is always so).")
    ] = False,
    rollback_on_failure: Annotated[
        bool,
        typer.Option(
            "--rollback-on-failure",
            help="Wait; a Deployment that fails returns to its last good revision (exit code 3).",
        ),
    ] = False,
    timeout: options.Timeout = "10m",
    strict: Annotated[bool, typer.Option("--strict", help="Fields that ktool does not act on are errors.")] = False,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="name, yaml or json.")] = "",
) -> int:
    """Make the cluster match manifests.

    Each object is created, or changed by the difference between this manifest, the one applied last and the live
    object. All of them change or none: with one mistake anywhere nothing is applied.
    """
    form = output.parse(output_format, only=("name", "yaml", "json"))
    options.dry_run(dry_run)
    patience = seconds(timeout, "--timeout")
    if not files:
        raise UsageError("must specify what to apply: -f FILE, -f DIR or -f -")
    chosen = settings(ctx)
    manifests = load(
        files,
        resourceargs.kinds(),
        namespace=chosen.namespace,
        namespace_chosen=bool(chosen.chosen_namespace),
        recursive=recursive,
    )
    _refuse_generated(manifests)
    with session(ctx, act=dry_run == "none") as opened:
        applied = ask(opened.client, manifests, dry_run, strict)
        _show(applied, form, SUFFIX[dry_run])
        if dry_run == "server" and not form.format:
            _show_plan(opened.client, applied)
        if dry_run != "none":
            return DONE
        changed = [one.obj for one in applied if one.outcome != "unchanged"]
        refs = [one.ref for one in applied]
        if wait or rollback_on_failure or opened.acting:
            refs += followers(opened.client, changed)
        if rollback_on_failure:
            from ktool.cli.rollout.onfailure import converge_or_return

            return converge_or_return(opened, refs, patience)
        return converge(opened, refs, wait=wait, timeout=patience)


def _refuse_generated(manifests: Sequence[Manifest]) -> None:
    for manifest in manifests:
        if not manifest.obj["metadata"].get("name"):
            raise UserError(manifest.error("cannot use generateName with apply; use create", "metadata.generateName"))


def ask(client: Client, manifests: Sequence[Manifest], dry_run: str, strict: bool) -> list[Applied]:
    """Apply them, or (in a dry run) say what that would do. ApiErrors name the manifests' files and lines."""
    if dry_run == "client":
        return [_would_be(client, manifest) for manifest in manifests]
    try:
        return client.apply([manifest.obj for manifest in manifests], dry_run=dry_run == "server", strict=strict)
    except ApiError as error:
        placed = refused(manifests, error.causes, "nothing was applied")
        if placed is None:
            raise
        raise placed from None


def _would_be(client: Client, manifest: Manifest) -> Applied:
    """What a client can tell without the server's merge: whether the object is there, as kubectl does."""
    ref = Ref.of(manifest.obj)
    try:
        client.get(ref)
    except ApiError as error:
        if not is_not_found(error):
            raise
        return Applied(ref, "created", manifest.obj)
    return Applied(ref, "configured", manifest.obj)


def _show_plan(client: Client, applied: Sequence[Applied]) -> None:
    from ktool.cli.plumbing import rehearsed

    if found := rehearsed.lines(client, applied):
        print("\n".join(["", *found]), flush=True)


def _show(applied: Sequence[Applied], form: output.Output, suffix: str) -> None:
    for one in applied:
        for warning in one.warnings:
            errors.warn(f"{output.shown(one.obj)}: {warning}")
    if form.format:
        sys.stdout.write(form.text([one.obj for one in applied], listed=len(applied) > 1))
    else:
        print("\n".join(f"{output.shown(one.obj)} {one.outcome}{suffix}" for one in applied))
    sys.stdout.flush()
