"""The door for writes: who asks, in what order a write is judged, and what is heard of it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktool.api.action import Bind, Create, Delete, Emit, Patch, Status, Update
from ktool.api.errors import ApiError, Cause
from ktool.api.kind import Rules
from ktool.api.kinds import Kinds
from ktool.api.obj import Obj, get, put, uid
from ktool.api.ref import EVENT, NAMESPACE, POD, Ref
from ktool.api.rules import validation
from ktool.registry import admission
from ktool.registry.apply import apply
from ktool.registry.deletion import DeleteOptions
from ktool.registry.execute import Batch
from ktool.registry.registry import Registry
from ktool.registry.request import LOCAL, Actor, Attributes, Record, component
from ktool.registry.verbs import Setup, Verbs
from ktool.store.store import Store

from .builders import CONFIG, THING, a, config, owned_by, pod, space, thing
from .kinds_for_tests import small_kinds

JANE = Actor("jane", ("system:authenticated",), manager="kubectl")
P = Ref(POD, "default", "p")


# --- authorization: every verb begins there ----------------------------------------------------------------------


class Asked:
    """A policy that remembers what it was asked for, and allows it or not."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []
        self.refuses: Callable[[Attributes], bool] = lambda asked: False

    def __call__(self, asked: Attributes, actor: Actor) -> bool:
        assert actor == JANE
        what = "/".join(part for part in (asked.gk.kind, asked.subresource) if part)
        self.found.append((asked.verb, what, f"{asked.namespace}/{asked.name}"))
        return not self.refuses(asked)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def jane(registry: Registry, store: Store, asked: Asked, clock: Any) -> Registry:
    """A registry that asks only that policy; a Thing a and a Pod p are there."""
    registry.create(thing("a"))
    registry.create(pod())
    return Registry(store, registry.kinds, clock=clock, policies=(asked,)).as_(JANE)


def actions(registry: Registry, *given: Any) -> None:
    """As a plan is carried out, but for this actor."""
    with registry.verbs() as verbs:
        for error in Batch(verbs).run(given):
            if error is not None:
                raise error


VERBS: dict[str, tuple[Callable[[Registry], Any], list[tuple[str, str, str]]]] = {
    "get": (lambda r: r.get(a()), [("get", "Thing", "default/a")]),
    "get-scale": (lambda r: r.get(a(), "scale"), [("get", "Thing/scale", "default/a")]),
    "list": (lambda r: r.list(THING, "default"), [("list", "Thing", "default/")]),
    "list-all": (lambda r: r.list(THING), [("list", "Thing", "/")]),
    "watch": (lambda r: r.watch(THING, "default", since=str(r.store.head())).close(), [("watch", "Thing", "default/")]),
    "create": (lambda r: r.create(thing("b")), [("create", "Thing", "default/b")]),
    "create-dry": (lambda r: r.create(thing("b"), dry_run=True), [("create", "Thing", "default/b")]),
    "update": (lambda r: r.update(thing("a", size=2)), [("update", "Thing", "default/a")]),
    "status": (lambda r: r.update(thing("a"), "status"), [("update", "Thing/status", "default/a")]),
    "patch": (lambda r: r.patch(a(), {"spec": {"size": 2}}), [("patch", "Thing", "default/a")]),
    "scale": (
        lambda r: r.patch(a(), {"spec": {"replicas": 2}}, subresource="scale"),
        [("patch", "Thing/scale", "default/a")],
    ),
    "delete": (lambda r: r.delete(a()), [("delete", "Thing", "default/a")]),
    "bind": (lambda r: r.bind(P, "n1"), [("create", "Pod/binding", "default/p")]),
    "logs": (lambda r: r.connect(P, "log"), [("get", "Pod/log", "default/p")]),
    "exec": (lambda r: r.connect(P, "exec"), [("create", "Pod/exec", "default/p")]),
    "apply": (
        lambda r: apply(r, [thing("a", size=2), thing("b"), config()]),
        [("create", "Config", "default/c"), ("patch", "Thing", "default/a"), ("create", "Thing", "default/b")],
    ),
    "action-create": (lambda r: actions(r, Create(thing("b"))), [("create", "Thing", "default/b")]),
    "action-update": (lambda r: actions(r, Update(r.store.get(a().key))), [("update", "Thing", "default/a")]),
    "action-patch": (lambda r: actions(r, Patch(a(), {"spec": {"size": 2}})), [("patch", "Thing", "default/a")]),
    "action-status": (lambda r: actions(r, Status(a(), {"replicas": 2})), [("update", "Thing/status", "default/a")]),
    "action-delete": (lambda r: actions(r, Delete(a())), [("delete", "Thing", "default/a")]),
    "action-bind": (lambda r: actions(r, Bind(P, "n1")), [("create", "Pod/binding", "default/p")]),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_asks(jane: Registry, asked: Asked, verb: str) -> None:
    call, questions = VERBS[verb]
    call(jane)
    assert asked.found == questions


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_can_be_refused_and_then_nothing_is_done(jane: Registry, asked: Asked, verb: str) -> None:
    head = jane.store.head()
    asked.refuses = lambda attributes: True
    with pytest.raises(ApiError) as error:
        VERBS[verb][0](jane)
    assert (error.value.code, error.value.reason) == (403, "Forbidden")
    assert jane.store.head() == head


def test_an_event_is_asked_for_like_any_object(jane: Registry, asked: Asked) -> None:
    actions(jane, Emit(a(), "Seen", "x"))
    actions(jane, Emit(a(), "Seen", "x"))
    assert [(verb, what) for verb, what, _ in asked.found] == [("create", "Event"), ("patch", "Event")]
    asked.refuses = lambda attributes: True
    with pytest.raises(ApiError):
        actions(jane, Emit(a(), "Seen", "x"))


def test_one_object_of_an_apply_that_is_refused_refuses_all(jane: Registry, asked: Asked) -> None:
    asked.refuses = lambda attributes: attributes.name == "b"
    with pytest.raises(ApiError) as error:
        apply(jane, [config(), thing("a", size=2), thing("b")])
    assert error.value.code == 403
    assert [cause.field for cause in error.value.causes] == ["[2]."]
    assert jane.store.get(Ref(CONFIG, "default", "c").key) is None


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda r: r.get(a()),
            'things.test.dev "a" is forbidden: User "jane" cannot get resource "things" in API group "test.dev" in the '
            'namespace "default"',
        ),
        (
            lambda r: r.list(NAMESPACE),
            'namespaces is forbidden: User "jane" cannot list resource "namespaces" in API group "" at the cluster '
            "scope",
        ),
        (
            lambda r: r.connect(P, "exec"),
            'pods "p" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace '
            '"default"',
        ),
    ],
)
def test_a_refusal_has_the_words_of_kubernetes(registry: Registry, call: Callable[[Registry], Any], says: str) -> None:
    """Also today's policy: only members of system:masters may do anything."""
    with pytest.raises(ApiError) as error:
        call(registry.as_(JANE))
    assert error.value.message == says


def test_the_owner_of_the_machine_and_components_may_do_everything(registry: Registry) -> None:
    registry.create(thing())
    registry.as_(component("thing-controller")).patch(a(), {"spec": {"size": 2}})
    registry.as_(replace(JANE, groups=("system:masters",))).delete(a())


# --- what is heard: the audit ------------------------------------------------------------------------------------


@pytest.fixture
def heard() -> list[Record]:
    return []


@pytest.fixture
def observed(store: Store, registry: Registry, heard: list[Record], clock: Any) -> Registry:
    return Registry(store, registry.kinds, clock=clock, observers=[heard.append])


def test_every_write_is_heard_once_with_who_did_it(observed: Registry, heard: list[Record]) -> None:
    made = observed.create(thing())
    observed.as_(LOCAL.managing("kubectl")).patch(a(), {"spec": {"size": 2}})
    observed.execute([Status(a(), {"replicas": 1}), Emit(a(), "Seen", "x"), Create(pod())], component="scheduler")
    observed.execute([Bind(P, "n1"), Delete(P)], component="scheduler")
    apply(observed, [thing("b")])
    observed.delete(a())
    told = [
        (r.actor.user, r.actor.manager, r.attributes.verb, r.attributes.gk.kind, r.attributes.subresource)
        for r in heard
    ]
    assert told == [
        ("system:admin", "ktool", "create", "Thing", ""),
        ("system:admin", "kubectl", "patch", "Thing", ""),
        ("system:scheduler", "scheduler", "update", "Thing", "status"),
        ("system:scheduler", "scheduler", "create", "Event", ""),
        ("system:scheduler", "scheduler", "create", "Pod", ""),
        ("system:scheduler", "scheduler", "create", "Pod", "binding"),
        ("system:scheduler", "scheduler", "delete", "Pod", ""),
        ("system:admin", "ktool", "create", "Thing", ""),
        ("system:admin", "ktool", "delete", "Thing", ""),
    ]
    assert (heard[0].old, heard[0].new) == (None, made)
    assert heard[1].old == made and get(heard[1].new, "spec", "size") == 2
    assert heard[-1].new is None and uid(heard[-1].old or {}) == uid(made)


def test_what_is_not_written_is_not_heard(observed: Registry, heard: list[Record]) -> None:
    observed.create(thing())
    heard.clear()
    observed.create(thing("b"), dry_run=True)
    observed.patch(a(), {"spec": {"size": 1}})  # as it is
    for refused in (lambda: observed.create(thing()), lambda: apply(observed, [thing("b"), thing("c", size=13)])):
        with pytest.raises(ApiError):
            refused()
    assert heard == []


def test_what_a_deletion_entails_is_heard_too(observed: Registry, heard: list[Record]) -> None:
    owner = observed.create(thing())
    observed.create(config("c") | {"metadata": {"name": "c", **owned_by(owner)}})
    observed.create(space("old"))
    observed.execute([Emit(Ref(THING, "old", "x"), "Seen", "x")], component="test")
    heard.clear()
    observed.delete(a(), propagation="Orphan")
    observed.delete(Ref(NAMESPACE, "", "old"))
    observed.patch(Ref(NAMESPACE, "", "old"), {"spec": {"finalizers": []}})
    told = [(r.attributes.verb, r.attributes.gk.kind, r.new is None) for r in heard]
    assert told == [
        ("patch", "Config", False),
        ("delete", "Thing", True),
        ("delete", "Namespace", False),
        ("patch", "Event", True),
        ("patch", "Namespace", True),
    ]


# --- identify: after uid and time, before validation --------------------------------------------------------------


def _identify(obj: Obj) -> Obj:
    assert uid(obj) and obj["metadata"]["creationTimestamp"]
    return put(obj, "spec", "tags", {**get(obj, "spec", "tags", default={}), "controller-uid": uid(obj)})


def _validate(obj: Obj, old: Obj | None) -> list[Cause]:
    own = get(obj, "spec", "tags", "controller-uid")
    return [] if own == uid(obj) else [Cause("spec.tags", f'"{own}" is not the uid')]


def _default(obj: Obj) -> Obj:
    assert not uid(obj) or get(obj, "spec", "tags"), "defaults come before the identity of a new object"
    return obj


@pytest.fixture
def identified(store: Store, clock: Any) -> Registry:
    """Things are told apart by their uid, as a Job's pods are."""
    rules = Rules(default=_default, identify=_identify, validate=_validate)
    kinds = Kinds(kind if kind.gk != THING else replace(kind, rules=rules) for kind in small_kinds())
    return Registry(store, kinds, clock=clock)


@pytest.mark.parametrize("how", ["create", "apply", "execute", "dry-run"])
def test_a_new_object_is_identified_by_its_uid(identified: Registry, how: str) -> None:
    if how == "create":
        made = identified.create(thing())
    elif how == "apply":
        made = apply(identified, [thing()])[0][2]
    elif how == "dry-run":
        made = identified.create(thing(), dry_run=True)
    else:
        assert identified.execute([Create(thing())], component="test") == [None]
        made = identified.get(a())
    assert made["spec"]["tags"] == {"controller-uid": uid(made)}


def test_objects_around_one_spec_have_each_their_own_identity(identified: Registry) -> None:
    shared = thing()["spec"]
    made = [put(thing(letter), "spec", shared) for letter in "abc"]
    assert identified.execute([Create(obj) for obj in made], component="test") == [None] * 3
    for letter in "abc":
        found = identified.get(a(letter))
        assert found["spec"]["tags"] == {"controller-uid": uid(found)}


def test_identity_is_given_once(identified: Registry) -> None:
    made = identified.create(thing())
    assert identified.update(put(made, "spec", "size", 3))["spec"]["tags"] == made["spec"]["tags"]
    with pytest.raises(ApiError) as error:
        identified.patch(a(), {"spec": {"tags": {"controller-uid": "of-another"}}})
    assert [cause.field for cause in error.value.causes] == ["spec.tags"]


def test_a_manifest_is_judged_as_if_it_were_identified(identified: Registry) -> None:
    kind = identified.kinds[THING]
    assert validation.manifest_causes(kind, put(thing(), "metadata", "namespace", "default")) == []


# --- the chain ---------------------------------------------------------------------------------------------------


def test_a_check_may_change_what_is_written_before_it_is_judged(store: Store, registry: Registry) -> None:
    def big(asked: Attributes, old: Obj | None, new: Obj | None, reader: admission.Reader) -> Obj | None:
        return put(new, "spec", "size", 13 if asked.name == "unlucky" else 7) if new is not None else None

    setup = Setup(registry.kinds, lambda: "u", lambda: "", chain=(big, *admission.FOR_CLIENTS))
    with store.transaction() as tx:
        verbs = Verbs(tx, setup, LOCAL, 0.0)
        assert verbs.create(put(thing(), "metadata", "namespace", "default"))["spec"]["size"] == 7
        with pytest.raises(ApiError, match="must not be 13"):
            verbs.create(thing("unlucky"))
        verbs.delete(registry.kinds[THING], a(), DeleteOptions())


def test_a_check_that_refuses_sees_deletions_and_status_too(store: Store, registry: Registry) -> None:
    registry.create(thing())
    seen: list[tuple[str, str, bool, bool]] = []

    def watch(asked: Attributes, old: Obj | None, new: Obj | None, reader: admission.Reader) -> Obj | None:
        assert reader.get(a()) == registry_object
        seen.append((asked.verb, asked.subresource, old is not None, new is not None))
        raise ApiError(403, "Forbidden", "no")

    registry_object = registry.get(a())
    setup = Setup(registry.kinds, lambda: "u", lambda: "", chain=(watch,))
    kind = registry.kinds[THING]
    with store.transaction() as tx:
        verbs = Verbs(tx, setup, LOCAL, 0.0)
        for call in (
            lambda: verbs.create(thing("b")),
            lambda: verbs.set_status(a(), registry_object, {"replicas": 3}),
            lambda: verbs.patch(kind, a(), {"spec": {"replicas": 3}}, subresource="scale"),
            lambda: verbs.delete(kind, a(), DeleteOptions()),
            lambda: verbs.record(Emit(a(), "Seen", "x"), Ref(EVENT, "default", "e")),
        ):
            with pytest.raises(ApiError, match="no"):
                call()
        assert verbs.records == []
    assert seen == [
        ("create", "", False, True),
        ("update", "status", True, True),
        ("patch", "scale", True, True),
        ("delete", "", True, True),
        ("create", "", False, True),
    ]
    assert registry.get(a()) == registry_object


def test_what_a_component_writes_is_judged_by_the_same_rules(registry: Registry) -> None:
    """But for what is taken: a controller sees all objects and gives what is free."""
    registry.create(thing(fixed="x"))
    refused = registry.execute(
        [Create(thing("b", size=13)), Patch(a(), {"spec": {"fixed": "y"}}), Create(thing("c", namespace="none"))],
        component="test",
    )
    assert [error.code if error else None for error in refused] == [422, 422, 404]
    assert set(admission.FOR_CLIENTS) - set(admission.FOR_COMPONENTS) == {admission.unique}


def test_there_is_one_door() -> None:
    """Transactions are written to by Verbs.write and Verbs.remove alone; and old Events go past them."""
    found = []
    for path in sorted((Path(__file__).parents[2] / "ktool").rglob("*.py")):
        if path.parent.name in ("registry", "control", "nodeplane", "serve", "client", "follow"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    found += [
                        (path.name, function.name, call.func.attr)
                        for call in ast.walk(function)
                        if isinstance(call, ast.Call)
                        and isinstance(call.func, ast.Attribute)
                        and call.func.attr in ("put", "remove")
                        and ast.unparse(call.func.value) in ("tx", "self.tx", "self._tx", "verbs.tx")
                    ]
    assert found == [("events.py", "_prune", "remove"), ("verbs.py", "write", "put"), ("verbs.py", "remove", "remove")]
