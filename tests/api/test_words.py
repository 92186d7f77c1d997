"""The small vocabularies: names and ages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ktool.api.rules import names
from ktool.api.units.duration import age, human

RULES: list[tuple[Callable[[str], str], list[str], list[str]]] = [
    (names.dns_label, ["a", "web-1", "1a", "a" * 63], ["", "A", "a.b", "-a", "a-", "a_b", "a" * 64, "a\n"]),
    (names.dns_subdomain, ["a", "a.b-c.d", "1.2"], ["", "a..b", ".a", "a.", "A.b", "a_b", "a" * 254]),
    (
        names.label_key,
        ["app", "A.b_c-d", "example.com/app", "x/y"],
        ["", "/a", "a/", "a/b/c", "Ex.com/a", "-a", "a" * 64],
    ),
    (names.label_value, ["", "a", "V1.2_3"], ["-", "a b", "a/b", "a" * 64, "a\n"]),
    (names.env_name, ["A", "a.b-c", "1", "_", "Ä"], ["", "A=B", "A\n"]),
    (names.port_name, ["http", "a-1", "1a"], ["", "-a", "a--b", "123", "A", "a" * 16]),
    (names.config_key, ["a", ".conf", "A_b-c.d"], ["", "..", ".", "..a", "a/b", "a b", "k" * 254]),
    (names.ip, ["10.0.0.1", "::1"], ["", "10.0.0", "10.0.0.1/24", "host"]),
    (names.subnet, ["10.0.0.0/24", "fd00::/64"], ["10.0.0.1/24", "x"]),
    (names.absolute_path, ["/", "/a/b..c"], ["", "a", "/a/..", "/../a"]),
    (names.relative_path, ["a", "a/b..c", ""], ["/a", "../a", "a/.."]),
]


@pytest.mark.parametrize("rule, good, bad", RULES, ids=[rule.__name__ for rule, _, _ in RULES])
def test_syntax(rule: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    assert [text for text in good if rule(text)] == []
    assert [text for text in bad if not rule(text)] == []


META: list[tuple[str, dict[str, Any], bool, list[str]]] = [
    ("good", {"name": "a.b", "namespace": "x", "labels": {"a": ""}, "annotations": {"Ex.com/a": "any text"}}, True, []),
    ("no-name", {"namespace": "x"}, True, ["metadata.name"]),
    ("no-namespace", {"name": "a"}, True, ["metadata.namespace"]),
    ("namespace-of-the-cluster", {"name": "a", "namespace": "x"}, False, ["metadata.namespace"]),
    ("label", {"name": "a", "labels": {"a b": "c", "d": "e f"}}, False, ["metadata.labels", "metadata.labels[d]"]),
    ("annotations-too-large", {"name": "a", "annotations": {"a": "x" * 300_000}}, False, ["metadata.annotations"]),
    ("finalizer", {"name": "a", "finalizers": ["a b"]}, False, ["metadata.finalizers[0]"]),
]


@pytest.mark.parametrize("meta, namespaced, fields", [case[1:] for case in META], ids=[case[0] for case in META])
def test_metadata(meta: dict[str, Any], namespaced: bool, fields: list[str]) -> None:
    assert [cause.field for cause in names.meta_causes(meta, namespaced=namespaced)] == fields


@pytest.mark.parametrize(
    "seconds, expected",
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (45.9, "45s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 120, "5h2m"),
        (8 * 3600, "8h"),
        (47 * 3600 + 3599, "47h"),
        (48 * 3600, "2d"),
        (76 * 3600, "3d4h"),
        (12 * 86400, "12d"),
        (729 * 86400, "729d"),
        (750 * 86400, "2y20d"),
        (10 * 365 * 86400 + 5, "10y"),
    ],
)
def test_ages_are_written_as_kubectl_does(seconds: float, expected: str) -> None:
    assert human(seconds) == expected


def test_the_age_of_an_object() -> None:
    assert age({"metadata": {"creationTimestamp": "2023-11-14T22:13:20Z"}}, 1_700_000_045.0) == "45s"
    assert age({"metadata": {}}, 0.0) == "<unknown>"
