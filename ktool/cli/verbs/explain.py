"""`ktool explain`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktool.api.errors import DONE
from ktool.api.kind import Kind
from ktool.cli.plumbing import resourceargs
from ktool.cli.plumbing.command import Verb, examples, verbs
from ktool.present.explain import explain as rendered
from ktool.present.explain import members_of

app = verbs()

EXAMPLES = """
ktool explain deployment
ktool explain pod.spec.containers
ktool explain deploy.spec.strategy --recursive
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def explain(
    path: Annotated[str, typer.Argument(metavar="KIND[.FIELD...]", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", help="The whole tree of fields, names only.")] = False,
) -> int:
    """Document the fields of a kind.

    Fields that ktool knows but does not act on yet are marked so.
    """
    kind, steps = _named(path.strip(".").split("."))
    sys.stdout.write(rendered(kind, steps, recursive=recursive))
    return DONE


def _named(words: list[str]) -> tuple[Kind, list[str]]:
    """The kind, and the steps from there. A group stands between the two only where the first step would be no field:
    `services.demo.example`."""
    kind = resourceargs.kind_named(words[0])
    if words[1:] and words[1] not in members_of(kind.schema):
        resourceargs.kinds().complete()
        for count in range(len(words), 1, -1):
            if found := resourceargs.kinds().find(".".join(words[:count])):
                return found, words[count:]
    return kind, words[1:]
