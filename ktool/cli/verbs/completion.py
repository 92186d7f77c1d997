"""`ktool completion`: prints the script of a shell."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ktool.api.errors import DONE
from ktool.cli.plumbing import options
from ktool.cli.plumbing.command import Verb, examples, verbs

app = verbs()

EXAMPLES = """
source <(ktool completion bash)                                  # this shell
ktool completion bash > /etc/bash_completion.d/ktool             # every bash
ktool completion zsh > "${fpath[1]}/_ktool"
ktool completion fish > ~/.config/fish/completions/ktool.fish
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def completion(shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", show_default=False)]) -> int:
    """Print the completion script of a shell.

    It completes verbs, options and their values, the kinds of the cluster, and names of objects and containers.
    """
    from ktool.cli.complete.scripts import SCRIPTS

    options.choice(shell, tuple(SCRIPTS), "shell")
    sys.stdout.write(SCRIPTS[shell])
    return DONE
