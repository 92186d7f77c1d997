"""`ktool create -f`, `create configmap` and `create secret`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktool.api.errors import DONE, ERROR, ApiError, UsageError
from ktool.api.masked import Masked, encoded
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors, options, resourceargs, sources
from ktool.cli.plumbing.command import ActingGroup, Verb, examples, session, settings, verbs
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.secret import create as secret_create
from ktool.cli.verbs.apply import SUFFIX
from ktool.manifests.load import load
from ktool.present import output

EXAMPLES = """
ktool create -f pod.yaml
ktool create -f job.yaml --dry-run=server -o yaml
ktool create configmap settings --from-literal color=blue
ktool create secret generic db --from-literal password      # asked for, not shown
"""
CONFIG_MAP = """
ktool create configmap settings --from-literal color=blue --from-file app.conf
ktool create configmap settings --from-file conf.d --dry-run=client -o yaml
ktool create configmap settings --from-env-file settings.env
"""

app = verbs("Create objects from manifests; one that exists already is an error.", cls=ActingGroup)
app.add_typer(secret_create.app, name="secret")


@app.callback(invoke_without_command=True, epilog=examples(EXAMPLES))
def create(
    ctx: typer.Context,
    files: options.Files = None,
    recursive: options.Recursive = False,
    dry_run: options.DryRun = "none",
    timeout: options.Timeout = "10m",
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="name, yaml or json.")] = "",
) -> int:
    """Create objects from manifests; one that exists already is an error."""
    if ctx.invoked_subcommand is not None:
        if files:
            raise UsageError(f"-f goes with no {ctx.invoked_subcommand}: a manifest says itself what it is")
        return DONE
    form = output.parse(output_format, only=("name", "yaml", "json"))
    options.dry_run(dry_run)
    patience = seconds(timeout, "--timeout")
    if not files:
        raise UsageError("must specify what to create: -f FILE, -f DIR or -f -")
    chosen = settings(ctx)
    manifests = load(
        files,
        resourceargs.kinds(),
        namespace=chosen.namespace,
        namespace_chosen=bool(chosen.chosen_namespace),
        recursive=recursive,
        consequence="nothing was created",
    )
    with session(ctx, act=dry_run == "none") as opened:
        created: list[Obj] = []
        code = DONE
        for manifest in manifests:
            try:
                if dry_run == "client":
                    created.append(manifest.obj)
                else:
                    created.append(opened.client.create(manifest.obj, dry_run=dry_run == "server"))
            except ApiError as error:
                print(f"{manifest.file}:{manifest.line()}: {errors.sentence(error)}", file=sys.stderr)
                code = ERROR
        if form.format and created:
            sys.stdout.write(form.text(created, listed=len(created) > 1))
        elif created:
            print("\n".join(f"{output.shown(obj)} created{SUFFIX[dry_run]}" for obj in created))
        sys.stdout.flush()
        if dry_run != "none":
            return code
        return converge(opened, [Ref.of(obj) for obj in created], wait=False, timeout=patience) or code


@app.command("configmap", cls=Verb, epilog=examples(CONFIG_MAP))
def config_map(
    ctx: typer.Context,
    name: secret_create.Name,
    from_literal: sources.FromLiteral = None,
    from_file: sources.FromFile = None,
    from_env_file: sources.FromEnvFile = None,
    dry_run: options.DryRun = "none",
    output_format: secret_create.Format = "",
) -> int:
    """Make a ConfigMap from literals, files and env files."""
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    for key, value in sources.values(from_literal, from_file, from_env_file).items():
        member, text = _placed(value)
        obj.setdefault(member, {})[key] = text
    return secret_create.create(ctx, obj, dry_run, output_format)


def _placed(value: Masked) -> tuple[str, str]:
    """Where a value belongs: text in data, other bytes in binaryData."""
    try:
        return "data", value.reveal().decode()
    except UnicodeDecodeError:
        return "binaryData", encoded(value)
