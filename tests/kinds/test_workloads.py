"""Deployment and ReplicaSet: what is accepted, put in by default, refused and shown."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api import patch, schema
from ktool.api.errors import Cause
from ktool.api.ref import GroupKind
from ktool.api.world import World
from ktool.logic.workload.workloadkinds import DEPLOYMENT, REPLICA_SET
from tests.everykind import KINDS

NOW = 1_700_000_000.0


def workload(kind: str = "Deployment", **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}
    body = {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "default"}, "spec": body}


def admitted(obj: dict[str, Any], old: dict[str, Any] | None = None) -> tuple[dict[str, Any], list[Cause]]:
    """An object after shape, defaults and validation, as the registry does it."""
    kind = KINDS[GroupKind.of(obj)]
    assert schema.check(kind.schema, obj) == []
    assert kind.rules.default is not None and kind.rules.validate is not None
    obj = kind.rules.default(schema.default(kind.schema, obj))
    return obj, kind.rules.validate(obj, old)


def template(**metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "web", "image": "nginx:1"}]}
    return {"metadata": {"labels": {"app": "web"}, **metadata}, "spec": spec}


def test_the_defaults_of_a_deployment() -> None:
    found, causes = admitted(workload())
    assert causes == []
    wanted = {"replicas": 1, "minReadySeconds": 0, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
    assert wanted.items() <= found["spec"].items()
    rolling = {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert found["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert found["spec"]["template"]["spec"]["restartPolicy"] == "Always"


def test_half_a_strategy_is_completed() -> None:
    found, causes = admitted(workload(strategy={"rollingUpdate": {"maxSurge": 2}}))
    assert causes == []
    rolling = {"maxSurge": 2, "maxUnavailable": "25%"}
    assert found["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


REFUSED = {
    # name: (spec, the field, part of the message)
    "empty selector": ({"selector": {}}, "spec.selector", "must not be empty"),
    "selector of others": ({"selector": {"matchLabels": {"app": "b"}}}, "spec.template.metadata.labels", "not match"),
    "selector value": (
        {"selector": {"matchLabels": {"app": "a b"}}},
        "spec.selector.matchLabels[app]",
        "letters, digits",
    ),
    "selector key": ({"selector": {"matchLabels": {"a b": "x"}}}, "spec.selector.matchLabels", 'the key "a b"'),
    "selector without values": (
        {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}},
        "spec.selector.matchExpressions[0].values",
        "is required with operator In",
    ),
    "template label": (
        {"template": template(labels={"app": "web", "tier": "-front"})},
        "spec.template.metadata.labels[tier]",
        "begin and end",
    ),
    "template label key": (
        {"template": template(labels={"app": "web", "/x": "y"})},
        "spec.template.metadata.labels",
        'the key "/x"',
    ),
    "template annotation": (
        {"template": template(annotations={"a b": "x"})},
        "spec.template.metadata.annotations",
        'the key "a b"',
    ),
    "restart policy": (
        {"template": {**template(), "spec": {**template()["spec"], "restartPolicy": "Never"}}},
        "spec.template.spec.restartPolicy",
        'must be "Always", not "Never"',
    ),
}

STRATEGIES = {
    "nothing may move": (
        {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
        "may not be 0 when `maxSurge` is 0",
    ),
    "nothing may move in percent": (
        {"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
        "may not be 0",
    ),
    "no percentage": (
        {"strategy": {"rollingUpdate": {"maxSurge": "some"}}},
        "spec.strategy.rollingUpdate.maxSurge",
        'like "25%", not "some"',
    ),
    "negative": (
        {"strategy": {"rollingUpdate": {"maxSurge": -1}}},
        "spec.strategy.rollingUpdate.maxSurge",
        'not "-1"',
    ),
    "more than all": (
        {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
        "spec.strategy.rollingUpdate.maxUnavailable",
        "must not be greater than 100%",
    ),
    "recreate with rollingUpdate": (
        {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}},
        "spec.strategy.rollingUpdate",
        "may not be specified when strategy type is Recreate",
    ),
    "a deadline that cannot be met": (
        {"progressDeadlineSeconds": 10, "minReadySeconds": 10},
        "spec.progressDeadlineSeconds",
        "must be greater than minReadySeconds",
    ),
}


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
@pytest.mark.parametrize("spec, field, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_template_may_be(kind: str, spec: dict[str, Any], field: str, message: str) -> None:
    _, (cause, *others) = admitted(workload(kind, **spec))
    assert others == []
    assert cause.field == field
    assert message in cause.message


@pytest.mark.parametrize("spec, field, message", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_what_no_strategy_may_be(spec: dict[str, Any], field: str, message: str) -> None:
    _, (cause, *others) = admitted(workload(**spec))
    assert others == []
    assert cause.field == field
    assert message in cause.message


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet"])
def test_a_selector_is_for_life(kind: str) -> None:
    old, _ = admitted(workload(kind))
    labels = {"app": "web", "tier": "front"}
    _, causes = admitted(workload(kind, selector={"matchLabels": labels}, template=template(labels=labels)), old)
    assert [(cause.field, "immutable" in cause.message) for cause in causes] == [("spec.selector", True)]


def test_applying_another_strategy_drops_what_belonged_to_the_old_one() -> None:
    live, _ = admitted(workload())
    applied = workload(strategy={"type": "Recreate"})
    merged = patch.three_way(workload(), applied, live, KINDS[DEPLOYMENT].schema)
    assert merged["spec"]["strategy"] == {"type": "Recreate"}
    assert admitted(merged, live)[1] == []


def test_a_strategic_patch_says_what_to_retain() -> None:
    """As the documentation's "Update API Objects in Place Using kubectl patch" has it."""
    live, _ = admitted(workload())
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    found = patch.strategic(live, change, KINDS[DEPLOYMENT].schema)
    assert found["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    "status, done, message",
    [
        ({"observedGeneration": 1}, False, "Waiting for deployment spec update to be observed..."),
        (
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1},
            False,
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
        ),
        (
            {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3},
            False,
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
        ),
        (
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2},
            False,
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
        ),
        (
            {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
            True,
            'deployment "web" successfully rolled out',
        ),
    ],
)
def test_progress_in_the_words_of_rollout_status(status: dict[str, Any], done: bool, message: str) -> None:
    obj = workload(replicas=3)
    obj["metadata"]["generation"], obj["status"] = 2, status
    progress = KINDS[DEPLOYMENT].controller.progress
    assert progress is not None
    found = progress(obj, World([obj]))
    assert (found.done, found.message, found.failed) == (done, message, "")


def test_columns() -> None:
    obj, _ = admitted(workload(replicas=3))
    obj["metadata"]["creationTimestamp"] = "2023-11-14T22:03:20Z"
    obj["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1, "replicas": 3}
    wide = {column.name: column.cell(obj, NOW) for column in KINDS[DEPLOYMENT].looks.columns}
    assert wide == {
        "NAME": "web",
        "READY": "2/3",
        "UP-TO-DATE": "3",
        "AVAILABLE": "1",
        "AGE": "10m",
        "CONTAINERS": "web",
        "IMAGES": "nginx:1",
        "SELECTOR": "app=web",
    }
    obj["kind"] = "ReplicaSet"
    narrow = {c.name: c.cell(obj, NOW) for c in KINDS[REPLICA_SET].looks.columns if not c.wide}
    assert narrow == {"NAME": "web", "DESIRED": "3", "CURRENT": "3", "READY": "2", "AGE": "10m"}
