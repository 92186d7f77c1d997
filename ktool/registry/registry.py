"""The registry, Kubernetes' API server as a library: every verb of the API on one Store, for one Actor at a time.

Clients, the server and the control plane call it. Objects that come out of it are shared with others and must not be
changed in place.
"""

from __future__ import annotations

import copy
import random
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ktool.api import selector
from ktool.api.action import Action, Emit
from ktool.api.errors import ApiError, bad_request, not_found
from ktool.api.kind import Kind
from ktool.api.kinds import Kinds
from ktool.api.masked import UNREADABLE
from ktool.api.obj import HASH_ALPHABET, Obj, labels, namespace
from ktool.api.ref import NAMESPACE, GroupKind, Ref
from ktool.registry import admission, authorize, shaping
from ktool.registry.deletion import DeleteOptions
from ktool.registry.events import Ageing
from ktool.registry.execute import Batch
from ktool.registry.request import APISERVER, LOCAL, Actor, Attributes, Record
from ktool.registry.request import component as _component
from ktool.registry.verbs import Setup, Verbs
from ktool.registry.watching import Matches, stream
from ktool.store.store import Store

Outcomes = list[ApiError | None]
"""One for each action: None, or why it was refused."""

Observer = Callable[[Record], None]
"""Hears of each write once it is committed: the audit."""


def _new_uid() -> str:
    return str(uuid.uuid4())


def _suffix() -> str:
    return "".join(random.choices(HASH_ALPHABET, k=5))


class Registry:
    """`clock` gives seconds since 1970, `new_uid` an identity for each new object, `suffix` five characters for the
    end of a generated name. An Actor may do what any of `policies` allows. Every method raises ApiError for a refusal
    and StoreError where the database fails.

    It acts for the owner of this machine's database; `as_` is the same registry for another Actor."""

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        *,
        clock: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = _new_uid,
        suffix: Callable[[], str] = _suffix,
        policies: Sequence[authorize.Policy] = (authorize.masters,),
        observers: Sequence[Observer] = (),
    ) -> None:
        self.store, self.kinds, self.actor = store, kinds, LOCAL
        self._clock, self._observers = clock, tuple(observers)
        self._setup = Setup(kinds, new_uid, suffix, tuple(policies))
        self._for_components = replace(self._setup, chain=admission.FOR_COMPONENTS, judge=admission.SpecMemo())
        self._ageing = Ageing()
        self.as_(APISERVER)._ensure_default_namespace()

    def as_(self, actor: Actor) -> Registry:
        """This registry, asked by `actor`."""
        other = copy.copy(self)
        other.actor = actor
        return other

    def _ensure_default_namespace(self) -> None:
        ref = Ref(NAMESPACE, "", "default")
        if NAMESPACE in self.kinds and self.store.get(ref.key) is None:
            with self.verbs() as verbs:
                if verbs.tx.get(ref.key) is None:
                    version = self.kinds[NAMESPACE].api_version
                    verbs.create({"apiVersion": version, "kind": "Namespace", "metadata": {"name": "default"}})

    @contextmanager
    def verbs(self, dry_run: bool = False) -> Iterator[Verbs]:
        """One transaction and the verbs in it; with `dry_run` everything is judged and nothing is written."""
        with self.store.transaction() as tx:
            if dry_run:
                tx.discard()
            verbs = Verbs(tx, self._setup, self.actor, self._clock())
            yield verbs
        if not dry_run:
            self._observe(verbs.records)

    def _observe(self, records: Sequence[Record]) -> None:
        for observer in self._observers:
            for record in records:
                observer(record)

    def _allow(self, verb: str, gk: GroupKind, namespace: str | None, name: str = "", subresource: str = "") -> None:
        """ApiError 403 where this actor may not read that."""
        asked = Attributes(verb, gk, namespace or "", name, subresource)
        authorize.check(self._setup.policies, self.kinds, asked, self.actor)

    # --- reading

    def get(self, ref: Ref, subresource: str = "") -> Obj:
        """An object, or its Scale for the subresource `scale`. ApiError 404 where there is none."""
        kind = shaping.named(self.kinds, ref.gk)
        self._allow("get", ref.gk, ref.namespace, ref.name, subresource)
        return _view(kind, self._read(kind, ref), subresource)

    def connect(self, ref: Ref, subresource: str) -> Obj:
        """The Pod whose `log` or `exec` is to be opened: that needs a right of its own."""
        kind = shaping.named(self.kinds, ref.gk)
        self._allow("get" if subresource == "log" else "create", ref.gk, ref.namespace, ref.name, subresource)
        return self._read(kind, ref)

    def _read(self, kind: Kind, ref: Ref) -> Obj:
        found = self.store.get(ref.key)
        if found is None:
            raise not_found(kind.resource, ref.name)
        return shaping.readable(found)

    def list(
        self, gk: GroupKind, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> tuple[list[Obj], str]:
        """The objects of a kind, by namespace and name, and the resourceVersion to watch from. `namespace` None is all
        of them; `labels` and `fields` are selectors as users write them."""
        found = shaping.named(self.kinds, gk)
        self._allow("list", gk, namespace)
        matches = _matches(labels, fields)
        items, head = self.store.list(_scope(found, namespace))
        if labels or fields:
            items = [item for item in items if matches(item)]
        if found.rules.redact is not None:
            _all_readable(items)
        return items, str(head)

    def watch(
        self,
        gk: GroupKind,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        since: str = "",
        timeout: float | None = None,
        *,
        bookmark_every: float | None = None,
    ) -> Generator[tuple[str, Obj], None, None]:
        """Pairs of ADDED, MODIFIED, DELETED or BOOKMARK and an object, after resourceVersion `since`; "" or "0" begins
        with an ADDED for each existing object. Also what other processes write. Close the iterator to end it.

        Raises ApiError 410 where `since` is too old or the reader too slow: list again."""
        found = shaping.named(self.kinds, gk)
        self._allow("watch", gk, namespace)
        matches = _matches(labels, fields)
        existing: list[Obj] = []
        if since in ("", "0"):
            existing, since = self.list(gk, namespace, labels, fields)
        try:
            start = int(since)
        except ValueError:
            raise bad_request(f'resourceVersion "{since}" is not one of this server') from None
        subscription = self.store.watch(_scope(found, namespace), start).poll_others()

        def served() -> bool:
            return self.kinds.get(gk) is found

        return stream(subscription, found, matches, existing, timeout, bookmark_every, served)

    # --- writing

    def create(self, obj: Obj, dry_run: bool = False) -> Obj:
        with self.verbs(dry_run) as verbs:
            return verbs.create(shaping.plain(obj))

    def update(self, obj: Obj, subresource: str = "", dry_run: bool = False, ref: Ref | None = None) -> Obj:
        """Replace an object, its status or its scale; a Scale does not say whose it is, so that needs `ref`. Refused
        with 409 where metadata.resourceVersion is given and no longer the current one."""
        obj = shaping.plain(obj)
        if ref is None:
            found = shaping.kind_of(self.kinds, obj)
            ref = Ref(found.gk, (namespace(obj) or "default") if found.namespaced else "", Ref.of(obj).name)
        kind = shaping.named(self.kinds, ref.gk)
        with self.verbs(dry_run) as verbs:
            return _view(kind, verbs.update(kind, ref, obj, subresource), subresource)

    def patch(
        self,
        ref: Ref,
        patch: Any,
        type: str = "merge",
        subresource: str = "",
        dry_run: bool = False,
        uid: str = "",
        version: str = "",
    ) -> Obj:
        """`type` is merge (RFC 7386), json (RFC 6902) or strategic. With `uid`, only that very object."""
        kind = shaping.named(self.kinds, ref.gk)
        patch = shaping.plain(patch)
        with self.verbs(dry_run) as verbs:
            return _view(kind, verbs.patch(kind, ref, patch, type, subresource, version, uid), subresource)

    def bind(self, ref: Ref, node: str, uid: str = "") -> Obj:
        """core/v1 Binding: put a Pod on a node; with `uid`, only that very Pod."""
        with self.verbs() as verbs:
            return verbs.bind(ref, node, uid)

    def delete(
        self,
        ref: Ref,
        grace: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """`grace` in seconds, None for the kind's own; `propagation` is Background, Foreground or Orphan. Returns the
        object as it was last, or with its deletionTimestamp where it is still to end."""
        kind = shaping.named(self.kinds, ref.gk)
        with self.verbs(dry_run) as verbs:
            return verbs.delete(kind, ref, DeleteOptions(grace, propagation, uid))

    def execute(self, actions: Iterable[Action], *, component: str) -> Outcomes:
        """Carry out what a component of the control plane plans, in one transaction. The answer has one entry for each
        action: None where it was done or there was nothing to do, else why it was refused; the others are not
        affected.

        Nothing to do: creating what exists, and changing or deleting what is gone or has another uid."""
        actions = list(actions)
        if not actions:
            return []
        with self.store.transaction() as tx:
            verbs = Verbs(tx, self._for_components, _component(component), self._clock())
            outcomes = Batch(verbs).run(actions)
            if any(isinstance(action, Emit) for action in actions):
                self._ageing.let_go(tx, verbs.now)
        self._observe(verbs.records)
        return outcomes


def _all_readable(items: Sequence[Obj]) -> None:
    """ApiError 500 that names what could not be decrypted."""
    problems = [str(item[UNREADABLE]) for item in items if UNREADABLE in item]
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise ApiError(500, "InternalError", problems[0] + more)


def _scope(kind: Kind, namespace: str | None) -> str:
    return kind.gk.in_namespace(namespace if kind.namespaced else None)


def _view(kind: Kind, obj: Obj, subresource: str) -> Obj:
    if subresource == "scale":
        if "scale" not in kind.subresources:
            raise not_found(f"{kind.resource}/scale", "")
        return shaping.scale_of(obj)
    return obj


def _matches(label_selector: str, field_selector: str) -> Matches:
    wanted, fields = selector.parse(label_selector), selector.parse_fields(field_selector)
    return lambda obj: wanted.matches(labels(obj)) and fields.matches(obj)
