"""`ktool create secret` and `ktool secret create`: kubectl's three ways to make a Secret."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ktool.api.errors import DONE, UsageError, UserError
from ktool.api.masked import Masked, encoded
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.api.rules import validation
from ktool.cli.plumbing import options, resourceargs, sources
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.plumbing.converge import converge
from ktool.cli.verbs.apply import SUFFIX
from ktool.logic.secrets import secretdata
from ktool.present import output

GROUP = """
ktool create secret generic db --from-literal password      # asked for, not shown
ktool create secret tls web --cert web.crt --key web.key
ktool create secret docker-registry pull --docker-server registry.example.com --docker-username ci
"""
GENERIC = """
ktool create secret generic db --from-literal user=admin --from-literal password
ktool create secret generic db --from-file password.txt --from-file key=id_ed25519
pass show db | ktool create secret generic db --from-file password=-
ktool create secret generic db --from-env-file .env --dry-run=client -o yaml
ktool secret create generic db --from-literal password      # the same
"""
REGISTRY_EXAMPLES = """
ktool create secret docker-registry pull --docker-server registry.example.com --docker-username ci
ktool create secret docker-registry pull --from-file .dockerconfigjson=config.json
ktool secret create docker-registry pull --docker-username ci < password.txt
"""
TLS = """
ktool create secret tls web --cert web.crt --key web.key
ktool secret create tls web --cert web.crt --key web.key    # the same
"""

app = verbs("Make a Secret from values, files or credentials.", no_args_is_help=True, epilog=examples(GROUP))

Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
Format = Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="name, yaml or json.")]


@app.callback()
def group() -> None:
    """Make a Secret from values, files or credentials."""


@app.command("generic", cls=Verb, epilog=examples(GENERIC))
def generic(
    ctx: typer.Context,
    name: Name,
    from_literal: sources.FromLiteral = None,
    from_file: sources.FromFile = None,
    from_env_file: sources.FromEnvFile = None,
    type_: Annotated[str, typer.Option("--type", metavar="TYPE", help="Type of the Secret (Opaque).")] = "",
    dry_run: options.DryRun = "none",
    output_format: Format = "",
) -> int:
    """Make a Secret from literals, files, env files, stdin or a hidden prompt."""
    values = sources.values(from_literal, from_file, from_env_file)
    return create(ctx, secret(name, type_ or secretdata.OPAQUE, values), dry_run, output_format)


@app.command("docker-registry", cls=Verb, epilog=examples(REGISTRY_EXAMPLES))
def docker_registry(
    ctx: typer.Context,
    name: Name,
    server: Annotated[
        str, typer.Option("--docker-server", metavar="HOST", help="Registry (https://index.docker.io/v1/).")
    ] = "https://index.docker.io/v1/",
    username: Annotated[str, typer.Option("--docker-username", metavar="NAME", help="Who logs in.")] = "",
    password: Annotated[
        str, typer.Option("--docker-password", metavar="TEXT", help="Asked for, or read from stdin, where missing.")
    ] = "",
    email: Annotated[str, typer.Option("--docker-email", metavar="ADDRESS", help="Kept for Docker.")] = "",
    from_file: Annotated[
        list[str] | None, typer.Option("--from-file", metavar="[KEY=]FILE", help="A whole config.json instead.")
    ] = None,
    dry_run: options.DryRun = "none",
    output_format: Format = "",
) -> int:
    """Make a Secret with the credentials of an image registry."""
    if from_file:
        values = sources.values((), from_file, ())
        if list(values) != [".dockerconfigjson"]:
            raise UsageError("--from-file: one file is wanted, as .dockerconfigjson=FILE")
    else:
        if not username:
            raise UsageError("--docker-username is missing")
        given = Masked(password.encode()) if password else sources.asked("--docker-password")
        values = {".dockerconfigjson": docker_config(server, username, given, email)}
    return create(ctx, secret(name, secretdata.DOCKER_CONFIG, values), dry_run, output_format)


@app.command("tls", cls=Verb, epilog=examples(TLS))
def tls(
    ctx: typer.Context,
    name: Name,
    cert: Annotated[str, typer.Option("--cert", metavar="FILE", help="Certificate (PEM), with its chain.")] = "",
    key: Annotated[str, typer.Option("--key", metavar="FILE", help="Its private key (PEM).")] = "",
    dry_run: options.DryRun = "none",
    output_format: Format = "",
) -> int:
    """Make a Secret with a certificate and its key."""
    if not cert or not key:
        raise UsageError("--cert and --key must both be given")
    values = {"tls.crt": Masked(sources.read(cert)), "tls.key": Masked(sources.read(key))}
    _check_pair(cert, key)
    return create(ctx, secret(name, secretdata.TLS, values), dry_run, output_format)


# --- what they have in common ------------------------------------------------------------------------------------


def secret(name: str, type_: str, values: dict[str, Masked]) -> Obj:
    data = {key: encoded(value) for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data, "type": type_}


def docker_config(server: str, username: str, password: Masked, email: str) -> Masked:
    """Docker's file of credentials, as kubectl writes it."""
    both = username.encode() + b":" + password.reveal()
    entry = {"username": username, "password": password.reveal().decode("utf-8", "surrogateescape")}
    if email:
        entry["email"] = email
    entry["auth"] = base64.b64encode(both).decode()
    return Masked(json.dumps({"auths": {server: entry}}).encode())


def _check_pair(cert: str, key: str) -> None:
    """Whether the two belong together. The standard library wants the files for that."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(Path(cert), Path(key), password=lambda: "")
    except ssl.SSLError as error:
        why = "they do not belong together" if "MISMATCH" in str(error) else "they are no PEM certificate and plain key"
        raise UserError(f"{cert} and {key}: {why}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{cert} and {key} cannot be used: {error}") from None


def create(ctx: typer.Context, obj: Obj, dry_run: str, output_format: str) -> int:
    """Create the object that the command line describes, or show it."""
    form = output.parse(output_format, only=("name", "yaml", "json"))
    options.dry_run(dry_run)
    obj = {**obj, "metadata": {**obj["metadata"], "namespace": settings(ctx).namespace}}
    kind = resourceargs.kinds()[Ref.of(obj).gk]
    causes = validation.manifest_causes(kind, obj)
    if causes:
        raise UserError("\n".join(f"{kind.display(obj['metadata']['name'])}: {cause}" for cause in causes))
    if dry_run == "client":
        return _show(obj, form, SUFFIX[dry_run])
    with session(ctx, act=dry_run == "none") as opened:
        made = opened.client.create(obj, dry_run=dry_run == "server")
        _show(made, form, SUFFIX[dry_run])
        if dry_run != "none":
            return DONE
        return converge(opened, [Ref.of(made)], wait=False, timeout=0.0)


def _show(obj: Obj, form: output.Output, suffix: str) -> int:
    sys.stdout.write(form.text([obj], listed=False) if form.format else f"{output.shown(obj)} created{suffix}\n")
    sys.stdout.flush()
    return DONE
