"""Planners against golden cases: tests/golden/<kind>/<case>.yaml gives {object, world, now} and expects
{actions, because, after} or {error}; tests/goldencases says how a case shares objects with others. An empty plan must
say because.

`uid`s and names derived from content are compared too: a case is written by looking at what the documentation says
must happen, then at what the planner did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ktool.api.world import World
from tests.everykind import KINDS
from tests.goldencases import load

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = [
    pytest.param(kind, path, id=f"{kind.name.lower()}/{path.stem}")
    for kind in KINDS
    for path in sorted((GOLDEN / kind.name.lower()).glob("*.yaml"))
]


@pytest.mark.parametrize("kind, path", CASES)
def test_plan(kind: Any, path: Path) -> None:
    case = load(path)
    given = case["given"]
    world = World([given["object"], *given.get("world", ())])
    plan = kind.controller.plan(given["object"], world, float(given.get("now", 1_700_000_000)))
    assert plan.actions or plan.because, "an empty plan must say because"
    assert plan.to_json() == case["expect"]


def test_every_kind_that_plans_has_golden_cases():
    missing = [
        kind.name for kind in KINDS if kind.controller.plan and not list((GOLDEN / kind.name.lower()).glob("*.yaml"))
    ]
    assert missing == []
