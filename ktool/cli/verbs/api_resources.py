"""`ktool api-resources`."""

from __future__ import annotations

from typing import Annotated

import typer

from ktool.api.errors import DONE
from ktool.api.kind import Kind
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, verbs
from ktool.present.table import Table

app = verbs()

EXAMPLES = """
ktool api-resources
ktool api-resources --namespaced=false
ktool api-resources --api-group=apps -o wide
"""

VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


@app.command("api-resources", cls=Verb, epilog=examples(EXAMPLES))
def api_resources(
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="wide or name.")] = "",
    group: Annotated[str, typer.Option("--api-group", metavar="GROUP", help="Of this API group only.")] = "*",
    namespaced: Annotated[
        str, typer.Option("--namespaced", metavar="true|false", help="Only those that are in a namespace, or not.")
    ] = "",
    sort_by: Annotated[str, typer.Option("--sort-by", metavar="name|kind", help="The order.")] = "name",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No header line.")] = False,
) -> int:
    """List the kinds of objects."""
    options.choice(output_format, ("", "wide", "name"), "-o")
    options.choice(namespaced, ("", "true", "false"), "--namespaced")
    options.choice(sort_by, ("name", "kind"), "--sort-by")
    resourceargs.kinds().complete()
    found = [
        kind
        for kind in resourceargs.kinds()
        if group in ("*", kind.group) and namespaced in ("", str(kind.namespaced).lower())
    ]
    found.sort(key=lambda kind: (kind.name if sort_by == "kind" else kind.plural, kind.group))
    if output_format == "name":
        print("\n".join(kind.resource for kind in found))
        return DONE
    wide = output_format == "wide"
    header = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", *(["VERBS", "CATEGORIES"] if wide else [])]
    # An empty cell stays empty here, as with kubectl: <none> would look like a short name.
    rows = [[cell or " " for cell in _row(kind, wide)] for kind in found]
    print("\n".join(line.rstrip() for line in Table(header, headless=no_headers).lines(rows)))
    return DONE


def _row(kind: Kind, wide: bool) -> list[str]:
    row = [kind.plural, ",".join(kind.short), kind.in_version(kind.preferred), str(kind.namespaced).lower(), kind.name]
    return [*row, ",".join(VERBS), ",".join(kind.categories)] if wide else row
