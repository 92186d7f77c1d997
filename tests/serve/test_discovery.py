"""Discovery documents: what follows from the kinds alone."""

from __future__ import annotations

import pytest

from ktool.api.kind import Kind, Names, Version
from ktool.api.kinds import Kinds
from ktool.api.schema import Field
from ktool.client.kinds import kinds_of
from ktool.serve import discovery
from tests.everykind import KINDS

OPEN = Field("any")


def kind(*versions: str, group: str = "demo.example", name: str = "Lamp") -> Kind:
    names = Names(group, name, f"{name.lower()}s", ("l",), ("all",), namespaced=False)
    return Kind(names, tuple(Version(one, OPEN) for one in versions), subresources=("status",))


ORDERS = {
    "GA before beta": (["v2beta1", "v1"], "v1"),
    "beta before alpha": (["v1alpha1", "v1beta1"], "v1beta1"),
    "numbers are numbers": (["v2", "v10", "v1"], "v10"),
    "also those of a beta": (["v1beta2", "v1beta10"], "v1beta10"),
    "the newer of two betas": (["v1beta9", "v2beta1"], "v2beta1"),
    "a version before any other word": (["edge", "v1alpha1"], "v1alpha1"),
    "other words by the alphabet": (["foo10", "foo1"], "foo1"),
    "v0 is no version": (["v0", "v1alpha1"], "v1alpha1"),
}


@pytest.mark.parametrize(("versions", "preferred"), ORDERS.values(), ids=list(ORDERS))
def test_the_preferred_version_of_a_group(versions: list[str], preferred: str) -> None:
    group = discovery.document("/apis/demo.example", Kinds([kind(*versions)]))
    assert group is not None
    assert group["preferredVersion"]["version"] == preferred
    assert {one["version"] for one in group["versions"]} == set(versions)


def test_a_client_reads_from_it_the_kinds_it_was_made_of() -> None:
    kinds = Kinds([*KINDS, kind("v1", "v2"), kind("v2", name="Bulb")])
    roots = {one.root(version.name) for one in kinds for version in one.versions}
    read = kinds_of(discovery.document(root, kinds) or {} for root in sorted(roots))
    assert {one.names for one in read} == {one.names for one in kinds}
    assert {one.gk: one.subresources for one in read} == {one.gk: one.subresources for one in kinds}
    lamp = next(one for one in read if one.name == "Lamp")
    assert [version.name for version in lamp.versions] == ["v2", "v1"]


def test_what_a_server_may_not_call_a_kind_is_left_out() -> None:
    names = [("../secrets", "Lamp"), ("lamps", "La mp"), ("$(id)", "Lamp"), ("", "Lamp"), ("lamps", "")]
    resources = [{"name": plural, "kind": name, "namespaced": True} for plural, name in names]
    assert kinds_of([{"groupVersion": "demo.example/v1", "resources": resources}]) == []


def test_the_fingerprint_changes_with_what_is_told() -> None:
    kinds = Kinds([kind("v1")])
    first = kinds.fingerprint
    kinds.add(kind("v1", name="Bulb"))
    second = kinds.fingerprint
    kinds.remove(kind("v1", name="Bulb").gk)
    assert kinds.fingerprint == first != second
    assert Kinds([kind("v1", "v2")]).fingerprint != first
    assert discovery.version("here", "id", kinds)["kinds"] == first
