"""`ktool explain`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktool.api.errors import DONE
from ktool.cli.plumbing import resourceargs
from ktool.cli.plumbing.command import Verb, examples, verbs
from ktool.present.explain import explain as rendered

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
    word, *steps = path.strip(".").split(".")
    kind = resourceargs.kind_named(word)
    sys.stdout.write(rendered(kind, steps, recursive=recursive))
    return DONE
