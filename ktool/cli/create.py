"""`ktool create -f`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktool.api.errors import ApiError
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.cli import errors, names, options, output
from ktool.cli.apply import SUFFIX
from ktool.cli.command import Verb, examples, session, settings, verbs
from ktool.cli.converge import converge
from ktool.cli.durations import seconds
from ktool.cli.errors import UsageError
from ktool.cli.manifests import load

app = verbs()

EXAMPLES = """
ktool create -f pod.yaml
ktool create -f job.yaml --dry-run=server -o yaml
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def create(
    ctx: typer.Context,
    files: options.Files = None,
    recursive: options.Recursive = False,
    dry_run: options.DryRun = "none",
    timeout: options.Timeout = "10m",
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="name, yaml or json.")] = "",
) -> int:
    """Create objects from manifests; one that exists already is an error."""
    form = output.parse(output_format, only=("name", "yaml", "json"))
    options.dry_run(dry_run)
    patience = seconds(timeout, "--timeout")
    if not files:
        raise UsageError("must specify what to create: -f FILE, -f DIR or -f -")
    names.kinds()
    chosen = settings(ctx)
    manifests = load(
        files,
        namespace=chosen.namespace,
        namespace_chosen=bool(chosen.chosen_namespace),
        recursive=recursive,
        consequence="nothing was created",
    )
    with session(ctx, act=dry_run == "none") as opened:
        created: list[Obj] = []
        code = errors.DONE
        for manifest in manifests:
            try:
                if dry_run == "client":
                    created.append(manifest.obj)
                else:
                    created.append(opened.client.create(manifest.obj, dry_run=dry_run == "server"))
            except ApiError as error:
                print(f"{manifest.file}:{manifest.line()}: {errors.sentence(error)}", file=sys.stderr)
                code = errors.ERROR
        if form.format and created:
            sys.stdout.write(form.text(created, listed=len(created) > 1))
        elif created:
            print("\n".join(f"{output.shown(obj)} created{SUFFIX[dry_run]}" for obj in created))
        sys.stdout.flush()
        if dry_run != "none":
            return code
        return converge(opened, [Ref.of(obj) for obj in created], wait=False, timeout=patience) or code
