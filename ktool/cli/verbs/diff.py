"""`ktool diff`: what `apply` would change, as a unified diff of each object."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence

import typer

from ktool.api.errors import ApiError, UsageError, is_not_found
from ktool.api.marks import LAST_APPLIED
from ktool.api.masked import MASK
from ktool.api.obj import Obj, annotations_of, drop, name, namespace, put
from ktool.api.ref import SECRET, Ref
from ktool.cli.plumbing import errors, options, resourceargs
from ktool.cli.plumbing.command import Verb, examples, session, settings, verbs
from ktool.cli.verbs.apply import ask
from ktool.manifests import dump
from ktool.manifests.load import load
from ktool.present.table import safe
from ktool.registry.client import Applied, Client

app = verbs()

EXAMPLES = """
ktool diff -f shop                  # exit code 0: nothing, 1: differences, more: an error
cat web.yaml | ktool diff -f -
"""
SAME, DIFFERENT, FAILED = 0, 1, 2
_BOOKKEEPING = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


@app.command(cls=Verb, epilog=examples(EXAMPLES))
def diff(ctx: typer.Context, files: options.Files = None, recursive: options.Recursive = False) -> int:
    """Show what apply would change in the live objects.

    The server merges and defaults as for a real apply, so that only real differences show. Values of Secrets are
    masked. Exits with 0 where nothing would change, 1 where something would, and more than 1 after an error.
    """
    if not files:
        raise UsageError("must specify what to compare: -f FILE, -f DIR or -f -")
    try:
        return _compare(ctx, files, recursive)
    except Exception as error:  # 1 means differences here
        from ktool import app as composition

        return max(FAILED, errors.report(error, composition.home()))


def _compare(ctx: typer.Context, files: Sequence[str], recursive: bool) -> int:
    chosen = settings(ctx)
    manifests = load(
        files,
        resourceargs.kinds(),
        namespace=chosen.namespace,
        namespace_chosen=bool(chosen.chosen_namespace),
        recursive=recursive,
        consequence="nothing was compared",
    )
    code = SAME
    with session(ctx, act=False) as opened:
        before = {Ref.of(one.obj): _live(opened.client, Ref.of(one.obj)) for one in manifests}
        for applied in ask(opened.client, manifests, "server", strict=False):
            lines = list(_lines(before[applied.ref], applied))
            if lines:
                code = DIFFERENT
                sys.stdout.writelines(lines)
    sys.stdout.flush()
    return code


def _live(client: Client, ref: Ref) -> Obj | None:
    try:
        return client.get(ref)
    except ApiError as error:
        if not is_not_found(error):
            raise
        return None


def _lines(live: Obj | None, applied: Applied) -> Iterator[str]:
    old, new = _shown(live), _shown(applied.obj)
    if applied.ref.gk == SECRET:
        old, new = masked(old, new)
    where = _file(applied.obj)
    before = dump.to_yaml(old).splitlines(keepends=True) if old else []
    after = dump.to_yaml(new).splitlines(keepends=True)
    for line in difflib.unified_diff(before, after, f"LIVE/{where}", f"MERGED/{where}"):
        yield safe(line.rstrip("\n")) + "\n"


def _file(obj: Obj) -> str:
    """As kubectl names the files it compares: `apps.v1.Deployment.default.web`."""
    group, slash, version = str(obj["apiVersion"]).rpartition("/")
    parts = [group if slash else "", version, obj["kind"], namespace(obj), name(obj)]
    return ".".join(part for part in parts if part)


def _shown(obj: Obj | None) -> Obj:
    """What a person can change: no status, and no bookkeeping."""
    if obj is None:
        return {}
    obj = drop(obj, "status")
    for key in _BOOKKEEPING:
        obj = drop(obj, "metadata", key)
    notes = {key: text for key, text in annotations_of(obj).items() if key != LAST_APPLIED}
    return put(obj, "metadata", "annotations", notes) if notes else drop(obj, "metadata", "annotations")


def masked(old: Obj, new: Obj) -> tuple[Obj, Obj]:
    """Two versions of a Secret without their values: one that changes is told apart, as kubectl does."""
    for member in ("data", "stringData"):
        before, after = old.get(member) or {}, new.get(member) or {}
        changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
        if before:
            old = {**old, member: {key: f"{MASK} (before)" if key in changed else MASK for key in before}}
        if after:
            new = {**new, member: {key: f"{MASK} (after)" if key in changed else MASK for key in after}}
    return old, new
