"""Selectors as users write them and as objects hold them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.api import selector
from ktool.api.errors import ApiError

WEB = {"app": "web", "tier": "front", "example.com/team": "blue", "rank": "7"}

MATCHES = [
    ("", True),
    ("app=web", True),
    ("app==web", True),
    ("app = web , tier = front", True),
    ("app=api", False),
    ("app!=api", True),
    ("missing!=x", True),
    ("app!=web", False),
    ("app in (web, api)", True),
    ("app in (api)", False),
    ("app notin (api,db)", True),
    ("app notin (web)", False),
    ("missing notin (web)", True),
    ("missing in (web)", False),
    ("app", True),
    ("missing", False),
    ("!missing", True),
    ("!app", False),
    ("example.com/team=blue", True),
    ("app=web,tier!=front", False),
    ("missing=", False),
    ("rank>6", True),
    ("rank<7", False),
    ("app>6", False),
    ("in=web", False),
]


@pytest.mark.parametrize("text, expected", MATCHES, ids=[text or "empty" for text, _ in MATCHES])
def test_label_selectors(text: str, expected: bool) -> None:
    found = selector.parse(text)
    assert found.matches(WEB) is expected
    assert selector.parse(found.text).matches(WEB) is expected


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "app=web,",
        ",app",
        "app in web",
        "app in (web",
        "app web",
        "a b=c",
        "-a",
        "app=we!b",
        "app>x",
        "app=a=b",
        "!",
        "(a)",
    ],
)
def test_what_cannot_be_read_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        selector.parse(text)
    assert refused.value.code == 400
    assert "unable to parse the label selector" in refused.value.message


def test_label_selector_objects() -> None:
    found = selector.from_label_selector(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "missing", "operator": "DoesNotExist"},
            ],
        }
    )
    assert found.matches(WEB)
    assert not found.matches({**WEB, "missing": ""})
    assert found.text == "app=web,tier in (back,front),!missing"


def test_absent_matches_nothing_and_empty_matches_everything() -> None:
    assert not selector.from_label_selector(None).matches(WEB)
    assert selector.from_label_selector({}).matches(WEB)
    assert selector.from_label_selector({}).everything


OBJECT = {
    "metadata": {"name": "a", "namespace": "b"},
    "spec": {"nodeName": "n1", "on": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", True),
        ("metadata.name=a", True),
        ("metadata.name==a,status.phase!=Failed", True),
        ("status.phase!=Running", False),
        ("spec.nodeName=", False),
        ("spec.missing=", True),
        ("spec.nodeName!=", True),
        ("spec.on=true", True),
        ("spec.nodeName.deeper=x", False),
    ],
)
def test_field_selectors(text: str, expected: bool) -> None:
    assert selector.parse_fields(text).matches(OBJECT) is expected


def test_a_field_selector_without_operator_is_refused() -> None:
    with pytest.raises(ApiError, match="nodeName"):
        selector.parse_fields("metadata.name")


keys = st.sampled_from(["a", "b", "c", "x.y/z"])
values = st.sampled_from(["", "1", "two", "3-x"])
label_sets = st.dictionaries(keys, values)
requirements = st.one_of(
    st.builds(lambda k, v: selector.Requirement(k, "In", tuple(sorted(v))), keys, st.sets(values, min_size=1)),
    st.builds(lambda k, v: selector.Requirement(k, "NotIn", tuple(sorted(v))), keys, st.sets(values, min_size=1)),
    st.builds(lambda k: selector.Requirement(k, "Exists"), keys),
    st.builds(lambda k: selector.Requirement(k, "DoesNotExist"), keys),
)


@given(st.lists(requirements, max_size=4), label_sets)
def test_text_and_back_means_the_same(found: list[selector.Requirement], labels: dict[str, str]) -> None:
    whole = selector.Selector(tuple(found))
    assert selector.parse(whole.text).matches(labels) == whole.matches(labels)


@given(keys, st.sets(values, min_size=1), label_sets)
def test_not_in_is_the_opposite_of_in(key: str, among: set[str], labels: dict[str, str]) -> None:
    chosen = tuple(among)
    inside = selector.Requirement(key, "In", chosen).matches(labels)
    assert selector.Requirement(key, "NotIn", chosen).matches(labels) is not inside


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (selector.parse, selector.parse_fields):
        try:
            read(text).matches({})  # type: ignore[operator]
        except ApiError as refused:
            assert refused.code == 400
