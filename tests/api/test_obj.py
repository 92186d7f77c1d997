"""Helpers on objects: what they copy, and what they leave as it is."""

from __future__ import annotations

import pytest

from ktool.api.obj import drop

OBJ = {"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"a": None}}


@pytest.mark.parametrize(
    "path",
    [
        ("status",),
        ("metadata", "annotations"),
        ("metadata", "labels", "y"),
        ("metadata", "name", "deeper"),
        ("none", "x"),
    ],
    ids="/".join,
)
def test_drop_of_what_is_not_there_is_the_object_itself(path: tuple[str, ...]) -> None:
    assert drop(OBJ, *path) is OBJ


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("spec",), {"metadata": OBJ["metadata"]}),
        (("spec", "a"), {"metadata": OBJ["metadata"], "spec": {}}),
        (("metadata", "labels", "x"), {"metadata": {"name": "a", "labels": {}}, "spec": {"a": None}}),
    ],
)
def test_drop_copies_along_the_path_and_shares_the_rest(path: tuple[str, ...], expected: object) -> None:
    before = repr(OBJ)
    found = drop(OBJ, *path)
    assert found == expected and repr(OBJ) == before
    assert path[0] == "metadata" or found["metadata"] is OBJ["metadata"]
