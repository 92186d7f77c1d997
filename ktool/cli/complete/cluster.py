"""Completion's view of the cluster: kinds, and names of objects. `candidates` calls it.

Nothing is made for a Tab key: where neither a server answers nor a database is there, there are no names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ktool import app
from ktool.api.kind import Kind
from ktool.api.obj import get, name
from ktool.api.ref import POD
from ktool.cli.complete.cmdline import CommandLine
from ktool.cli.plumbing import known

if TYPE_CHECKING:
    from ktool.registry.client import Client


@contextmanager
def _client() -> Iterator[Client | None]:
    if not (app.socket_path().exists() or app.database().exists()):
        yield None
        return
    with app.session(act=False, known=known.told()) as opened:
        yield opened.client


def namespace(line: CommandLine) -> str:
    return line.value("namespace") or os.environ.get("KTOOL_NAMESPACE", "") or "default"


def names(kind: Kind, line: CommandLine) -> list[str]:
    """The names of the objects of a kind, in the namespace that the line works in."""
    with _client() as client:
        if client is None:
            return []
        return sorted(name(obj) for obj in client.list(kind.gk, namespace(line) if kind.namespaced else None).items)


def pods_names(line: CommandLine) -> list[str]:
    return names(known.told()[POD], line)


def containers(line: CommandLine) -> list[str]:
    """The containers of the pod that the line names, initContainers last."""
    from ktool.cli.plumbing import podargs

    if "/" in "".join(line.arguments[:1]):  # a workload: its own kind says which pods are its
        known.forget()
        known.kinds()
    with _client() as client:
        if client is None or not line.arguments:
            return []
        spec = get(podargs.pod_of(client, line.arguments[0], namespace(line)), "spec")
    return [one["name"] for member in ("containers", "initContainers") for one in spec.get(member) or ()]


def kind_words(word: str) -> list[str]:
    """The words for kinds: plural and short names; where those are another kind's, or the word has a dot, the full
    ones, `services.demo.example` and `services.v2.demo.example`."""
    kinds = known.told()
    kinds.complete()
    found: dict[str, None] = {}
    for kind in sorted(kinds, key=lambda kind: (kind.plural, kind.group)):
        plain = [one for one in (kind.plural, *kind.short) if kinds.find(one) is kind]
        if kind.plural not in plain or ("." in word and kind.group):
            plain.append(kind.resource)
        if word.startswith(f"{kind.plural}.v") and kind.group:
            plain += [f"{kind.plural}.{version.name}.{kind.group}" for version in kind.versions]
        found.update(dict.fromkeys(plain))
    categories = {category for kind in kinds for category in kind.categories}
    return [*sorted(categories), *found]
