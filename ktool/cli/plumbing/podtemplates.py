"""Pod templates as the verbs of `set` change them: finding the containers of a workload and patching some of them."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get, name
from ktool.api.ref import POD, Ref
from ktool.cli.plumbing import options, resourceargs
from ktool.cli.plumbing.command import session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.targets import each, kinds_of
from ktool.cli.verbs.apply import SUFFIX
from ktool.cli.verbs.get import Query

Changes = dict[str, list[Obj]]
"""For each group the containers to change, by name, as a strategic merge patch has them."""


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Resources first, then updates: `KEY=VALUE`, or `KEY-`. UsageError where they are mixed."""
    first = next((index for index, word in enumerate(words) if _is_update(word)), len(words))
    resources, updates = list(words[:first]), list(words[first:])
    if wrong := [word for word in updates if not _is_update(word)]:
        raise UsageError(f"all resources must be specified before changes: {wrong[0]}")
    return resources, updates


def _is_update(word: str) -> bool:
    return "=" in word or (len(word) > 1 and word.endswith("-"))


def pod_path(kind: Kind) -> tuple[str, ...]:
    """Where objects of a kind keep the spec of their pods. UserError for a kind without pods."""
    if kind.gk == POD:
        return ("spec",)
    if kind.workload is not None:
        return (*kind.workload.template, "spec")
    raise UserError(f"{kind.resource} have no containers")


def chosen(spec: Obj, group: str, pattern: str) -> list[Obj]:
    """The containers of a group whose names fit the pattern."""
    return [found for found in spec.get(group) or () if fnmatch.fnmatchcase(found["name"], pattern)]


@dataclass(frozen=True)
class Meant:
    """Which objects to change, and what to do after that: the options every verb of `set` has."""

    resources: Sequence[str]
    selector: str
    every: bool
    dry_run: str
    wait: bool
    timeout: str

    def wanted(self) -> resourceargs.Wanted:
        wanted = resourceargs.parse(self.resources, "change")
        for kind in kinds_of(wanted):
            pod_path(kind)
        if wanted.kinds and not (self.selector or self.every):
            raise UsageError("say which: names, -l SELECTOR or --all")
        return wanted

    def change(self, ctx: typer.Context, change: Callable[[Kind, Obj, Obj], Changes], said: str) -> int:
        """`change` is given the kind, the object and the spec of its pods, and says what to change in it."""
        options.dry_run(self.dry_run)
        patience = seconds(self.timeout, "--timeout")
        wanted = self.wanted()

        def one(kind: Kind, obj: Obj) -> str:
            path = pod_path(kind)
            changes = {group: found for group, found in change(kind, obj, get(obj, *path, default={})).items() if found}
            if not changes:
                return ""
            patch: Any = changes
            for step in reversed(path):
                patch = {step: patch}
            if self.dry_run != "client":
                dry = self.dry_run == "server"
                opened.client.patch(Ref.of(obj), patch, type="strategic", dry_run=dry)
            return f"{kind.display(name(obj))} {said}{SUFFIX[self.dry_run]}"

        with session(ctx, act=self.dry_run == "none") as opened:
            done = each(opened.client, Query(wanted, settings(ctx).namespace, self.selector), one)
            if self.dry_run != "none":
                return done.code
            return converge(opened, done.refs, wait=self.wait, timeout=patience) or done.code
