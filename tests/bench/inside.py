"""Run by the Python of the checkout that is measured, where no command does the one thing that a row is about:
`python inside.py rules FILE`. Modules move between two checkouts: `PLACES` has the names of each, the newest first."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from types import ModuleType

PLACES = {"balance": ("ktool.logic.network.balance", "ktool.logic.balance")}


def module(word: str) -> ModuleType:
    for name in PLACES[word]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise SystemExit(f"this checkout has none of {', '.join(PLACES[word])}")


def rules(file: str) -> None:
    """The rules of a node for these services and slices, and the seconds it took to render them, as JSON."""
    balance = module("balance")
    services, slices = json.loads(Path(file).read_text())
    begun = time.monotonic()
    text = balance.render(balance.frontends(services, slices), "n1").text
    print(json.dumps({"seconds": time.monotonic() - begun, "table": balance.TABLE, "text": text}))


if __name__ == "__main__":
    {"rules": rules}[sys.argv[1]](*sys.argv[2:])
