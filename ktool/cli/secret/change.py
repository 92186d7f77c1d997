"""`ktool secret set`, `unset`, `edit`, `copy` and `rotate`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, UsageError, UserError, is_already_exists
from ktool.api.marks import LAST_APPLIED
from ktool.api.masked import Masked, encoded, values
from ktool.api.obj import Obj, annotations_of, controller_of, get, labels, meta, name, timestamp
from ktool.api.ref import POD, SECRET, GroupKind, Ref
from ktool.cli.plumbing import errors, options, sources
from ktool.cli.plumbing.command import Verb, examples, session, settings
from ktool.cli.plumbing.converge import converge
from ktool.cli.plumbing.durations import seconds
from ktool.cli.plumbing.podtemplates import pod_path
from ktool.cli.secret import edit as secret_edit
from ktool.cli.secret.create import Name
from ktool.logic.secrets.podrefs import ways

if TYPE_CHECKING:
    from ktool.app import Session
    from ktool.registry.client import Client

SET = """
ktool secret set db password                      # asked for, not shown
ktool secret set db --from-file tls.crt
pwgen 32 1 | ktool secret set db password
"""
UNSET = """
ktool secret unset db old-password
"""
EDIT = """
EDITOR=nano ktool secret edit db
"""
COPY = """
ktool secret copy pull --to-namespace shop
ktool secret copy db --to-namespace staging --to-name db-copy --overwrite
"""
ROTATE = """
ktool secret rotate db --from-literal password    # asked for, not shown
ktool secret rotate web --from-file tls.crt=new.crt --from-file tls.key=new.key
"""


def register(app: typer.Typer) -> None:
    app.command("set", cls=Verb, epilog=examples(SET))(set_)
    app.command("unset", cls=Verb, epilog=examples(UNSET))(unset)
    app.command("edit", cls=Verb, epilog=examples(EDIT))(edit)
    app.command("copy", cls=Verb, epilog=examples(COPY))(copy)
    app.command("rotate", cls=Verb, epilog=examples(ROTATE))(rotate)


def set_(
    ctx: typer.Context,
    secret_name: Name,
    keys: Annotated[list[str] | None, typer.Argument(metavar="[KEY|KEY=VALUE]...", show_default=False)] = None,
    from_file: sources.FromFile = None,
    from_env_file: sources.FromEnvFile = None,
    timeout: options.Timeout = "10m",
) -> int:
    """Set values of a Secret; the others stay.

    A key alone is asked for, or read from stdin. Running pods see the new value in their volumes; `ktool secret rotate`
    also restarts them.
    """
    patience = seconds(timeout, "--timeout")
    found = sources.values(keys, from_file, from_env_file)
    if not found:
        raise UsageError("name what to set: KEY, KEY=VALUE or --from-file")
    ref = Ref(SECRET, settings(ctx).namespace, secret_name)
    with session(ctx, act=True) as opened:
        _write(opened.client, ref, found)
        print(f"secret/{secret_name} updated", flush=True)
        return converge(opened, [ref], wait=False, timeout=patience)


def unset(
    ctx: typer.Context,
    secret_name: Name,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", show_default=False)],
    timeout: options.Timeout = "10m",
) -> int:
    """Take keys out of a Secret."""
    patience = seconds(timeout, "--timeout")
    ref = Ref(SECRET, settings(ctx).namespace, secret_name)
    with session(ctx, act=True) as opened:
        held = values(opened.client.get(ref))
        missing = [key for key in keys if key not in held]
        if missing:
            has = ", ".join(sorted(held)) or "none"
            raise UserError(f"secret/{secret_name} has no key {', '.join(missing)}; it has {has}")
        _write(opened.client, ref, dict.fromkeys(keys))
        print(f"secret/{secret_name} updated", flush=True)
        return converge(opened, [ref], wait=False, timeout=patience)


def edit(ctx: typer.Context, secret_name: Name, timeout: options.Timeout = "10m") -> int:
    """Edit the values of a Secret in $EDITOR.

    They stand in a file in memory (tmpfs) that only you can read, and that is removed afterwards.
    """
    patience = seconds(timeout, "--timeout")
    ref = Ref(SECRET, settings(ctx).namespace, secret_name)
    with session(ctx, act=False) as opened:
        before = opened.client.get(ref)
    held = values(before)
    wanted = secret_edit.edited(str(ref), held)
    changed: dict[str, Masked | None] = {key: value for key, value in wanted.items() if held.get(key) != value}
    changed |= {key: None for key in held if key not in wanted}
    if not changed:
        print("Edit cancelled, no changes made.", file=sys.stderr)
        return DONE
    with session(ctx, act=True) as opened:
        _write(opened.client, ref, changed, str(meta(before).get("resourceVersion", "")))
        print(f"secret/{secret_name} edited", flush=True)
        return converge(opened, [ref], wait=False, timeout=patience)


def _write(client: Client, ref: Ref, changed: Mapping[str, Masked | None], revision: str = "") -> Obj:
    """Set the values that are given and remove the keys whose value is None; with `revision`, only of that one."""
    patch: Obj = {"data": {key: encoded(value) if value is not None else None for key, value in changed.items()}}
    if revision:
        patch["metadata"] = {"resourceVersion": revision}
    return client.patch(ref, patch)


# --- copy --------------------------------------------------------------------------------------------------------


def copy(
    ctx: typer.Context,
    secret_name: Name,
    to_namespace: Annotated[str, typer.Option("--to-namespace", metavar="NAME", help="Where the copy goes.")] = "",
    to_name: Annotated[str, typer.Option("--to-name", metavar="NAME", help="What it is called there.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Copy a Secret to another namespace."""
    patience = seconds(timeout, "--timeout")
    source = Ref(SECRET, settings(ctx).namespace, secret_name)
    target = Ref(SECRET, to_namespace or source.namespace, to_name or secret_name)
    if source == target:
        raise UsageError("name where the copy goes: --to-namespace NAME or --to-name NAME")
    with session(ctx, act=True) as opened:
        twin = _twin(opened.client.get(source), target)
        try:
            opened.client.create(twin)
        except Exception as error:
            if not overwrite or not is_already_exists(error):
                raise
            opened.client.update(twin)
        print(f"secret/{target.name} copied to {target.namespace}", flush=True)
        return converge(opened, [target], wait=False, timeout=patience)


def _twin(found: Obj, target: Ref) -> Obj:
    """The content under another name; who owned and who applied the original is left behind."""
    metadata: Obj = {"name": target.name, "namespace": target.namespace}
    if labels(found):
        metadata["labels"] = labels(found)
    notes = {key: value for key, value in annotations_of(found).items() if key != LAST_APPLIED}
    if notes:
        metadata["annotations"] = notes
    kept: Obj = {key: found[key] for key in ("apiVersion", "kind", "type", "data", "immutable") if key in found}
    return {**kept, "metadata": metadata}


# --- rotate ------------------------------------------------------------------------------------------------------


def rotate(
    ctx: typer.Context,
    secret_name: Name,
    from_literal: sources.FromLiteral = None,
    from_file: sources.FromFile = None,
    from_env_file: sources.FromEnvFile = None,
    timeout: options.Timeout = "10m",
) -> int:
    """Set new values and roll every workload that uses the Secret."""
    patience = seconds(timeout, "--timeout")
    found = sources.values(from_literal, from_file, from_env_file)
    if not found:
        raise UsageError("name the new values: --from-literal, --from-file or --from-env-file")
    ref = Ref(SECRET, settings(ctx).namespace, secret_name)
    with session(ctx, act=True) as opened:
        readers_ = [
            one for one in readers(opened.client, ref.namespace) if ways(pod_spec(opened.client, one), secret_name)
        ]
        _write(opened.client, ref, found)
        print(f"secret/{secret_name} updated", flush=True)
        return converge(opened, [ref, *_rolled(opened, readers_)], wait=True, timeout=patience)


def _rolled(opened: Session, readers_: Sequence[Obj]) -> list[Ref]:
    """Roll what can be rolled, and say what cannot."""
    refs, now = [], timestamp(time.time())
    for one in readers_:
        workload = opened.client.kinds[Ref.of(one).gk].workload
        if workload is not None and workload.restart is not None:
            opened.client.patch(Ref.of(one), workload.restart(one, now))
            print(f"{shown(one)} restarted", flush=True)
            refs.append(Ref.of(one))
        else:
            errors.warn(f"{shown(one)} uses it and is not restarted: nothing makes a new one in its place")
    return refs


def readers(client: Client, namespace: str) -> list[Obj]:
    """The pods and workloads of a namespace that stand for themselves: what they own is spoken for by them."""
    kinds = [kind for kind in client.kinds if kind.workload is not None]
    found = [obj for kind in kinds for obj in client.list(kind.gk, namespace).items]
    found += client.list(POD, namespace).items
    return sorted(
        (obj for obj in found if controller_of(obj) is None), key=lambda obj: (GroupKind.of(obj) == POD, shown(obj))
    )


def pod_spec(client: Client, obj: Obj) -> Obj:
    """The spec of the pod that an object is, or makes."""
    found: Obj = get(obj, *pod_path(client.kinds[Ref.of(obj).gk]), default={})
    return found


def shown(obj: Obj) -> str:
    return Ref.of(obj).gk.display(name(obj))
