"""What goes with a rollout: digests of images, what pods read, and the sentences for what is wrong with one."""

from __future__ import annotations

import pytest

from ktool.api.marks import CHANGE_CAUSE, RESOLVED_IMAGES, REVISION, TEMPLATE_HASH
from ktool.api.obj import Obj
from ktool.api.patch import difference, merge
from ktool.api.world import World
from ktool.logic.pod import podfields
from ktool.logic.secrets.podrefs import Use
from ktool.logic.workload import configuse, digests, revisions
from ktool.logic.workload.podtrouble import trouble, unready

DIGEST = "registry.lab/web@sha256:" + "a" * 64


# --- digests -----------------------------------------------------------------------------------------------------


def replica_set(**notes: str) -> Obj:
    spec = {"containers": [{"name": "web", "image": "web:v1"}, {"name": "side", "image": f"x@sha256:{'b' * 64}"}]}
    return {
        "kind": "ReplicaSet",
        "metadata": {"name": "rs", "annotations": notes},
        "spec": {"template": {"spec": spec}},
    }


def pod(name: str, image_id: str, **notes: str) -> Obj:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": name, "annotations": notes},
        "spec": {"containers": [{"name": "web", "image": "web:v1"}]},
        "status": {"containerStatuses": [{"name": "web", "imageID": image_id}]},
    }


SEEN = {
    "from the first pod that knows": ([pod("b", DIGEST), pod("a", "")], {}, {"web:v1": DIGEST}),
    "of two the first by name": ([pod("b", DIGEST.replace("a", "c")), pod("a", DIGEST)], {}, {"web:v1": DIGEST}),
    "an image that came from no registry": ([pod("a", "sha256:" + "a" * 64)], {}, {}),
    "one that was imported here": ([pod("a", "localhost/web@sha256:" + "a" * 64)], {}, {}),
    "what is noted stays": (
        [pod("a", DIGEST)],
        {RESOLVED_IMAGES: '{"web:v1":"old@sha256:1"}'},
        {"web:v1": "old@sha256:1"},
    ),
    "a note that is broken": ([pod("a", DIGEST)], {RESOLVED_IMAGES: "{"}, {"web:v1": DIGEST}),
}


@pytest.mark.parametrize("case", SEEN.values(), ids=SEEN.keys())
def test_the_digest_that_was_pulled_is_noted(case: tuple) -> None:
    pods, notes, wanted = case
    assert digests.seen(replica_set(**notes), pods) == wanted


def test_a_pod_with_a_note_is_made_from_the_digest() -> None:
    container = {"name": "web", "image": "web:v1", "imagePullPolicy": "Always"}
    free, pinned = pod("a", ""), pod("a", "", **{RESOLVED_IMAGES: digests.text({"web:v1": DIGEST})})
    assert podfields.image_of(free, container) == "docker.io/library/web:v1"
    assert podfields.pull_policy(free, container) == "Always"
    assert podfields.image_of(pinned, container) == DIGEST
    assert podfields.pull_policy(pinned, container) == "IfNotPresent", "a digest does not change"
    assert podfields.pull_policy(pinned, {**container, "imagePullPolicy": "Never"}) == "Never"
    assert podfields.image_of(pinned, {**container, "image": "web:v2"}) == "docker.io/library/web:v2"


# --- what pods read ----------------------------------------------------------------------------------------------

READS = {
    "nothing": ({}, set()),
    "one key": (
        {"containers": [{"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]}]},
        {Use("ConfigMap", "c", ("k",))},
    ),
    "all keys, of a Secret": (
        {"initContainers": [{"envFrom": [{"secretRef": {"name": "s", "optional": True}}]}]},
        {Use("Secret", "s", (), True)},
    ),
    "volumes": (
        {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "b"}, {"key": "a"}]}},
                     {"name": "w", "secret": {"secretName": "s"}}, {"name": "x", "emptyDir": {}}]},
        {Use("ConfigMap", "c", ("a", "b")), Use("Secret", "s")},
    ),
    "projected": (
        {"volumes": [{"projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}}]},
        {Use("ConfigMap", "c"), Use("Secret", "s")},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READS.values(), ids=READS.keys())
def test_what_pods_read(case: tuple) -> None:
    spec, wanted = case
    assert configuse.uses(spec) == wanted


def test_a_hash_of_a_secret_cannot_be_compared_with_a_guess() -> None:
    """Two Secrets with one value have two hashes."""
    spec = {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]}
    workload = {"metadata": {"namespace": "default"}, "spec": {"template": {"spec": spec}}}
    found = set()
    for own in ("1", "2"):
        secret = {
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "default", "uid": own},
            "data": {"k": "YQ=="},
        }
        found.add(configuse.content(workload, World([secret])))
    assert len(found) == 2
    assert configuse.content(workload, World()) == ""


# --- sentences ---------------------------------------------------------------------------------------------------


def failing(state: Obj, **more: Obj) -> Obj:
    return {
        "metadata": {"name": "web-1"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web", "state": state, **more}]},
    }


CERTAIN = {
    "crash loop": (
        failing(
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            lastState={"terminated": {"exitCode": 7, "reason": "Error"}},
        ),
        "pod web-1: container web: CrashLoopBackOff; last exit code 7 (Error); back-off 10s",
    ),
    "out of memory": (
        failing(
            {"waiting": {"reason": "CrashLoopBackOff"}},
            lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        ),
        "pod web-1: container web: CrashLoopBackOff; last exit code 137 (OOMKilled)",
    ),
    "a port that is taken": (
        failing(
            {"waiting": {"reason": "ContainerCreating", "message": "listen tcp4 :80: bind: address already in use"}}
        ),
        "pod web-1: container web: port in use; listen tcp4 :80: bind: address already in use",
    ),
    "being made": (failing({"waiting": {"reason": "ContainerCreating"}}), ""),
}


@pytest.mark.parametrize("case", CERTAIN.values(), ids=CERTAIN.keys())
def test_what_certainly_keeps_a_pod_from_running(case: tuple) -> None:
    obj, wanted = case
    assert trouble(obj) == wanted


def test_why_a_pod_is_not_ready_though_nothing_is_certain() -> None:
    running = failing({"running": {}})
    ready = {"type": "Ready", "status": "False", "message": "containers with unready status: [web]"}
    running["status"]["conditions"] = [ready]
    assert unready(running) == "pod web-1 runs and is not ready: containers with unready status: [web]"
    running["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert unready(running) == ""
    assert unready(failing({"waiting": {"reason": "ContainerCreating"}})) == (
        "pod web-1: container web: ContainerCreating"
    )


# --- the way back ------------------------------------------------------------------------------------------------


def test_a_rollback_takes_the_whole_template_and_the_reason() -> None:
    deployment = {
        "metadata": {"name": "web", "annotations": {"mine": "1", CHANGE_CAUSE: "second"}},
        "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "web", "more": "x"}}, "spec": {"b": 2}}},
    }
    labels = {"app": "web", TEMPLATE_HASH: "abc"}
    old = {
        "metadata": {"name": "rs", "annotations": {CHANGE_CAUSE: "first", REVISION: "1"}},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": {"a": 1}}},
    }
    back = revisions.rolled_back(deployment, old)
    assert back["spec"] == {"replicas": 3, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"a": 1}}}
    assert back["metadata"]["annotations"] == {"mine": "1", CHANGE_CAUSE: "first"}
    assert merge(deployment, difference(deployment, back)) == back
