"""Options that several verbs share, each written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ktool.api.errors import UsageError

Files = Annotated[
    list[str] | None,
    typer.Option("-f", "--filename", metavar="FILE|DIR|-", help="Manifest file, folder or - for stdin; may repeat."),
]
Recursive = Annotated[bool, typer.Option("-R", "--recursive", help="Look into subfolders of -f too.")]
Selector = Annotated[
    str, typer.Option("-l", "--selector", metavar="SELECTOR", help="Label selector, e.g. app=web,tier!=db.")
]
FieldSelector = Annotated[
    str, typer.Option("--field-selector", metavar="SELECTOR", help="Field selector, e.g. status.phase=Running.")
]
AllNamespaces = Annotated[bool, typer.Option("-A", "--all-namespaces", help="In all namespaces.")]
IgnoreNotFound = Annotated[bool, typer.Option("--ignore-not-found", help="Objects that do not exist are no error.")]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="DURATION", help="How long to wait, e.g. 30s or 5m; 0 is for ever.")
]
Resources = Annotated[list[str] | None, typer.Argument(metavar="KIND [NAME...] | KIND/NAME...", show_default=False)]
DryRun = Annotated[
    str,
    typer.Option(
        "--dry-run", metavar="none|client|server", help="Change nothing: check here (client) or ask the server too."
    ),
]
Containers = Annotated[
    str, typer.Option("-c", "--containers", metavar="PATTERN", help="Only containers of such a name, e.g. 'web*'.")
]
Every = Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is rolled out.")]
Container = Annotated[str, typer.Option("-c", "--container", metavar="NAME", help="The container of the pod.")]


def choice(value: str, allowed: Sequence[str], option: str) -> str:
    """`value`, if it is one of `allowed`; UsageError where it is not."""
    if value in allowed:
        return value
    raise UsageError(f"{option}: {value!r} is none of {', '.join(allowed)}")


def dry_run(value: str) -> str:
    return choice(value, ("none", "client", "server"), "--dry-run")
