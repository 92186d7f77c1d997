"""Node plans against golden cases: tests/golden/nodeplan/<case>.yaml gives {pods, facts, failures, ...} and expects the
plan, each action in one line. Payloads have their own tests (test_podspec)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ktool.api.ref import Ref
from ktool.logic.node import nodeaction as act
from ktool.logic.plan.nodeplan import NodePlan, Underway, plan
from ktool.logic.pod.context import Context
from tests.logic.nodemodel import NODE

GOLDEN = Path(__file__).parent.parent / "golden" / "nodeplan"
CASES = [pytest.param(path, id=path.stem) for path in sorted(GOLDEN.glob("*.yaml"))]


def line(action: act.NodeAction) -> str:
    """An action as golden files write it: its name and what it is about."""
    words: list[str] = [type(action).__name__]
    for key, value in vars(action).items():
        if key == "payload":
            words.append(value["name"])
        elif key == "volumes":
            words += [f"{volume.name}{[file.path for file in volume.files] or ''}" for volume in value]
        elif key in ("hint", "secrets"):
            continue  # words for the user, and what the payload says already
        elif key in ("logins", "missing"):
            words += [f"{key[:-1] if key == 'logins' else key}:{getattr(one, 'secret', one)}" for one in value]
        elif key == "containers":
            words.append(",".join(value))
        elif key == "last":
            words.append(",".join(("then", *value)) if value else "")
        elif key != "uid" and value not in (None, ()):
            words.append(str(value))
    return " ".join(word for word in words if word)


def facts(given: dict[str, Any]) -> act.NodeFacts:
    pods = []
    for entry in given.pop("pods", ()):
        containers = tuple(act.ContainerFact(**{"id": f"c-{c['name']}", **c}) for c in entry.pop("containers", ()))
        base = {"namespace": "default", "hash": "h", "infra": "running", "id": f"p-{entry['name']}"}
        pods.append(act.PodFact(**{**base, "uid": f"uid-{entry['name']}", "ip": "", **entry}, containers=containers))
    return act.NodeFacts(**{"network": "10.244.1.0/24", **given, "pods": tuple(pods)})


def pods(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The given pods, with the metadata that every one of them has."""
    for entry in given:
        own = entry["metadata"]["name"]
        entry["metadata"] = {"namespace": "default", "uid": f"uid-{own}", **entry["metadata"]}
    return given


def failures(given: list[dict[str, Any]]) -> dict[tuple[str, str], act.Failure]:
    return {(entry.pop("uid"), entry.pop("container", "")): act.Failure(**entry) for entry in given}


def found(result: NodePlan) -> dict[str, Any]:
    entries: dict[str, Any] = {
        "setup": [line(action) for action in result.setup],
        "lanes": {lane.uid: [line(action) for action in lane.actions] for lane in result.lanes},
        "sooner": [line(action) for action in result.sooner],
        "addresses": dict(result.addresses),
        "gone": [gone.uid for gone in result.gone],
        "problems": {"/".join(key): f"{failure.reason}: {failure.message}" for key, failure in result.problems.items()},
        "after": result.after,
        "because": result.because,
    }
    return {key: value for key, value in entries.items() if value not in ([], {}, None, "")}


@pytest.mark.parametrize("path", CASES)
def test_node_plan(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    given = case["given"]
    objects = {
        (entry["kind"], entry["metadata"]["name"]): entry
        for entry in (*given.get("configMaps", ()), *given.get("objects", ()))
    }

    def lookup(ref: Ref) -> dict[str, Any] | None:
        return objects.get((ref.kind, ref.name))

    result = plan(
        pods(given.get("pods", [])),
        facts(given.get("facts", {})),
        Context(
            given.get("node", NODE),
            "c1",
            failures(given.get("failures", [])),
            lookup,
            float(given.get("now", 1_700_000_000)),
        ),
        Underway(
            busy=frozenset(given.get("busy", ())),
            addresses=given.get("addresses", {}),
            ending=given.get("ending", {}),
        ),
    )
    does = result.setup or result.lanes or result.sooner or result.gone
    assert does or result.because, "an empty plan must say because"
    assert found(result) == case["expect"]


def test_there_are_cases():
    assert len(CASES) > 20
