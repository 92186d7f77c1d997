"""In which ways a pod reads a Secret: every place of its spec that may name one."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.logic.secrets.podrefs import ways


def container(**members: Any) -> dict[str, Any]:
    return {"containers": [{"name": "web", "image": "x", **members}]}


PLACES = {
    "env": (
        container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}, {"name": "Q"}]),
        ["env P (key k), container web"],
    ),
    "envFrom": (container(envFrom=[{"secretRef": {"name": "db"}}]), ["envFrom, container web"]),
    "init": (
        {"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "db"}}]}]},
        ["envFrom, container i"],
    ),
    "volume": ({"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}, ["volume v"]),
    "projected": (
        {
            "volumes": [
                {"name": "v", "projected": {"sources": [{"configMap": {"name": "db"}}, {"secret": {"name": "db"}}]}}
            ]
        },
        ["volume v"],
    ),
    "pull": ({"imagePullSecrets": [{"name": "db"}]}, ["imagePullSecrets"]),
    "another": (
        {
            **container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "other", "key": "db"}}}]),
            "volumes": [{"name": "db", "configMap": {"name": "db"}}, {"name": "w", "secret": {"secretName": "other"}}],
            "imagePullSecrets": [{"name": "other"}],
        },
        [],
    ),
    "nothing": ({}, []),
    "nulls": ({"containers": None, "volumes": [{"name": "v", "secret": None, "projected": None}]}, []),
}


@pytest.mark.parametrize(("spec", "expected"), PLACES.values(), ids=PLACES)
def test_ways(spec: dict[str, Any], expected: list[str]) -> None:
    assert ways(spec, "db") == expected
