"""`ktool version`."""

from __future__ import annotations

import json
import platform
import sys
from typing import Annotated

import typer

from ktool import __version__
from ktool.api.errors import DONE
from ktool.cli.plumbing import options
from ktool.cli.plumbing.command import Verb, examples, session, verbs
from ktool.manifests import dump

app = verbs()

EXAMPLES = """
ktool version
ktool version --client -o json
"""


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def version(
    ctx: typer.Context,
    client: Annotated[bool, typer.Option("--client", help="Of this program only.")] = False,
    output_format: Annotated[str, typer.Option("-o", "--output", metavar="FORMAT", help="json or yaml.")] = "",
) -> int:
    """Show the versions of program and server."""
    options.choice(output_format, ("", "json", "yaml"), "-o")
    found = {
        "clientVersion": {
            "gitVersion": f"v{__version__}",
            "platform": f"{platform.system().lower()}/{platform.machine()}",
            "pythonVersion": platform.python_version(),
        }
    }
    if not client:
        with session(ctx, act=False) as opened:
            found["serverVersion"] = opened.client.version()
    if output_format == "json":
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif output_format == "yaml":
        sys.stdout.write(dump.to_yaml(found))
    else:
        print(f"Client Version: {found['clientVersion']['gitVersion']}")
        if server := found.get("serverVersion"):
            where = f" ({server['where']})" if server.get("where") else ""
            print(f"Server Version: {server.get('gitVersion', '')}{where}")
    return DONE
