"""`ktool secret`: create, list, show, change, copy and rotate Secrets; seal them for git; the key they are under."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.describe import Description
from ktool.api.errors import DONE, UserError
from ktool.api.masked import values
from ktool.api.obj import Obj, name, namespace
from ktool.api.ref import SECRET, Ref
from ktool.cli.plumbing import options
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.secret import change, create, seal
from ktool.cli.secret import key as secret_key
from ktool.cli.secret.audit import person, record
from ktool.cli.verbs.get import get as get_verb
from ktool.logic.secrets.podrefs import ways
from ktool.present import sheet
from ktool.present.table import Table

if TYPE_CHECKING:
    from ktool.registry.client import Client

GROUP = """
ktool secret create generic db --from-literal password      # asked for, not shown
ktool secret list
ktool secret show db --reveal password
ktool secret rotate db --from-literal password              # and roll whoever uses it
ktool secret seal -f secret.yaml > sealed.yaml              # for git
ktool secret key rotate
"""
LIST = """
ktool secret list
ktool secret list -A -l app=shop
"""
SHOW = """
ktool secret show db
ktool secret show db --reveal password
"""
USAGE = """
ktool secret usage db
"""

app = verbs("Create, list, show, change, copy, rotate and seal Secrets.", no_args_is_help=True, epilog=examples(GROUP))
app.add_typer(create.app, name="create")
change.register(app)
seal.register(app)
app.add_typer(secret_key.app, name="key")


@app.callback()
def secret() -> None:
    """Create, list, show, change, copy, rotate and seal Secrets."""


@app.command("list", cls=Verb, epilog=examples(LIST))
def list_(
    ctx: typer.Context,
    selector: options.Selector = "",
    all_namespaces: options.AllNamespaces = False,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="wide or name.")] = "",
) -> int:
    """List Secrets: names, types and how many keys they have."""
    options.choice(output_format, ("", "wide", "name"), "-o")
    return get_verb(ctx, ["secrets"], output_format=output_format, selector=selector, all_namespaces=all_namespaces)


@app.command("show", cls=Verb, epilog=examples(SHOW))
def show(
    ctx: typer.Context,
    secret_name: create.Name,
    reveal: Annotated[
        str, typer.Option("--reveal", metavar="KEY", help="Print the value of this key; leaves an event.")
    ] = "",
) -> int:
    """Show the keys of a Secret, how long their values are, and who reads them.

    With --reveal one value is printed as it is. An event says who did that and when.
    """
    with session(ctx, act=False) as opened:
        found = opened.client.get(Ref(SECRET, settings(ctx).namespace, secret_name))
        if reveal:
            return _reveal(opened.client, found, reveal)
        details = Description()
        details.row("Name", name(found))
        details.row("Namespace", namespace(found))
        details.row("Type", found.get("type"))
        details.row("Immutable", str(bool(found.get("immutable"))).lower())
        details.mapping("Keys", {key: f"{len(value)} bytes" for key, value in values(found).items()}, sign=": ")
        details.rows("Used By", [f"{who} ({how})" for who, how in users(opened.client, found)])
        sys.stdout.write(sheet.text(details))
    return DONE


def _reveal(client: Client, found: Obj, key: str) -> int:
    held = values(found)
    if key not in held:
        raise UserError(f"secret/{name(found)} has no key {key!r}; it has {', '.join(sorted(held)) or 'none'}")
    record(client, found, "Revealed", f"The value of the key {key} was revealed to {person()}")
    value = held[key].reveal()
    sys.stdout.flush()
    sys.stdout.buffer.write(value)
    if sys.stdout.isatty() and not value.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return DONE


@app.command("usage", cls=Verb, epilog=examples(USAGE))
def usage(ctx: typer.Context, secret_name: create.Name) -> int:
    """Say who reads a Secret: workloads and pods, and in what way."""
    with session(ctx, act=False) as opened:
        found = opened.client.get(Ref(SECRET, settings(ctx).namespace, secret_name))
        rows = users(opened.client, found)
    if rows:
        print("\n".join(Table(("READER", "HOW")).lines(rows)))
    else:
        print(f"Nobody reads secret/{secret_name} in {settings(ctx).namespace} namespace.", file=sys.stderr)
    return DONE


def users(client: Client, secret: Obj) -> list[tuple[str, str]]:
    """Each reader and each way, workloads first; pods that belong to a workload are spoken for by it."""
    return [
        (change.shown(obj), how)
        for obj in change.readers(client, namespace(secret))
        for how in ways(change.pod_spec(client, obj), name(secret))
    ]
