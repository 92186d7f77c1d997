"""The objects that a changing command is about: named, selected, or all of a kind; and doing it to each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ktool.api.errors import DONE, ERROR, ApiError, UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj
from ktool.api.ref import Ref
from ktool.cli.plumbing import errors
from ktool.cli.plumbing.resourceargs import Wanted
from ktool.cli.verbs.get import Query, fetch, nothing_found
from ktool.registry.client import Client


@dataclass
class Done:
    """What was changed, and the exit code: one object that cannot be changed does not hold back the others."""

    refs: list[Ref] = field(default_factory=list)
    code: int = DONE


def each(client: Client, query: Query, change: Callable[[Kind, Obj], str]) -> Done:
    """Do something to every object that is meant and print the line it returns; "" where there was nothing to do.
    What is refused, or not there, is said on stderr."""
    groups, missing = fetch(client, query)
    done = Done(code=ERROR if missing else DONE)
    for error in missing:
        _complain(error)
    if not missing and not any(objects for _, objects in groups):
        print(nothing_found(query), file=sys.stderr)
    for kind, obj in [(kind, obj) for kind, objects in groups for obj in objects]:
        try:
            line = change(kind, obj)
        except (ApiError, UserError) as error:
            _complain(error)
            done.code = ERROR
            continue
        if line:
            done.refs.append(Ref.of(obj))
            print(line, flush=True)
    return done


def _complain(error: Exception) -> None:
    print(errors.sentence(error), file=sys.stderr)


def kinds_of(wanted: Wanted) -> Sequence[Kind]:
    """Every kind that is asked for, once."""
    return tuple({kind.gk: kind for kind in (*wanted.kinds, *(kind for kind, _ in wanted.objects))}.values())
