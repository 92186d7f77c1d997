"""`rollout` and `set` as a user runs them, with simulated nodes. The lines are kubectl's."""

from __future__ import annotations

import json
import re
import threading

import pytest

from ktool.api.errors import ERROR, PARTIAL, USAGE, UsageError
from ktool.api.kind import Kind, Names, Version
from ktool.api.shapes.meta import resource
from ktool.cli.plumbing.podtemplates import split
from ktool.cli.plumbing.resourceargs import Wanted
from ktool.cli.plumbing.targets import kinds_of
from ktool.follow import steps
from ktool.logic.workload.deploymentcommands import WORKLOAD
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from ktool.node.simulated import runtime
from tests.everykind import KINDS

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: {kubernetes.io/change-cause: first}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: init, image: "init:v1"}
      containers:
      - {name: web, image: "web:v1", env: [{name: COLOUR, value: blue}]}
      - {name: side, image: "side:v1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {log.level: debug, app-name: shop}
"""


@pytest.fixture
def web(cluster, tmp_path):
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    assert cluster("apply", "-f", path).code == 0
    return cluster


def deployment(ktool):
    return json.loads(ktool("get", "deploy", "web", "-o", "json").out)


def containers(ktool):
    spec = deployment(ktool)["spec"]["template"]["spec"]
    return {one["name"]: one for group in ("initContainers", "containers") for one in spec[group]}


def images(ktool):
    return {name: one["image"] for name, one in containers(ktool).items()}


# --- history and undo --------------------------------------------------------------------------------------------


def test_history_and_undo(web):
    web("set", "image", "deploy/web", "web=web:v2")
    assert web("rollout", "history", "deploy/web").out == (
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         first\n2         first\n\n"
    )
    detail = web("rollout", "history", "deploy/web", "--revision=1")
    assert detail.lines[:2] == ["deployment.apps/web with revision #1", "Pod Template:"]
    assert re.search(r"^ +Image: +web:v1$", detail.out, re.MULTILINE)
    assert "web:v2" not in detail.out
    as_yaml = web("rollout", "history", "deploy/web", "--revision=2", "-o", "yaml")
    assert "kind: ReplicaSet\n" in as_yaml.out
    assert "image: web:v2\n" in as_yaml.out

    undone = web("rollout", "undo", "deploy/web")
    assert (undone.code, undone.out) == (0, "deployment.apps/web rolled back\n")
    assert images(web)["web"] == "web:v1"
    assert [line.split()[0] for line in web("rollout", "history", "deploy/web").lines[2:-1]] == ["2", "3"]
    again = web("rollout", "undo", "deploy/web", "--to-revision=3")
    assert again.out == "deployment.apps/web skipped rollback (current template already matches revision 3)\n"
    assert web("rollout", "undo", "deploy/web", "--to-revision=2").out == "deployment.apps/web rolled back\n"
    assert images(web)["web"] == "web:v2"


def test_undo_brings_back_why_the_revision_was_made(web):
    web("set", "image", "deploy/web", "web=web:v2")
    patched = web("rollout", "undo", "deploy/web", "--dry-run=server")
    assert patched.out == "deployment.apps/web rolled back (server dry run)\n"
    assert images(web)["web"] == "web:v2"
    shown = web("rollout", "undo", "deploy/web", "--dry-run=client")
    assert shown.lines[0] == "deployment.apps/web Pod Template:"
    assert "web:v1" in shown.out


UNDO_REFUSED = {
    "no such revision": (("--to-revision=7",), "error: unable to find specified revision 7 in history"),
    "no history": ((), 'error: no rollout history found for deployment "web"'),
}


@pytest.mark.parametrize("case", UNDO_REFUSED.values(), ids=UNDO_REFUSED.keys())
def test_undo_is_refused(web, case):
    options, said = case
    done = web("rollout", "undo", "deploy/web", *options)
    assert (done.code, done.err) == (ERROR, said + "\n")


def test_history_of_what_has_none(web):
    assert web("rollout", "history", "cm/settings").err == "error: configmaps have no history of revisions\n"
    assert web("rollout", "history", "deploy/web", "--revision=9").err == (
        "error: unable to find the specified revision\n"
    )
    assert web("rollout", "history", "deploy/nobody").code == ERROR


def test_kinds_of_one_name_in_two_groups_are_two():
    other = Kind(Names("demo.example", "Deployment", "deployments"), (Version("v1", resource()),))
    found = kinds_of(Wanted(objects=((other, "a"), (KINDS[DEPLOYMENT], "b"), (other, "c"))))
    assert [kind.group for kind in found] == ["demo.example", "apps"]


# --- pause, resume, restart --------------------------------------------------------------------------------------


def test_pause_gathers_changes_and_resume_rolls_them_out(web):
    web("scale", "deploy/web", "--replicas=1")
    assert web("rollout", "pause", "deploy/web").out == "deployment.apps/web paused\n"
    again = web("rollout", "pause", "deploy/web")
    assert (again.code, again.err) == (ERROR, 'error: deployments.apps "web" is already paused\n')
    assert web("set", "image", "deploy/web", "web=web:v2").out == "deployment.apps/web image updated\n"
    assert len(web("get", "rs", "-o", "name").lines) == 1
    status = web("rollout", "status", "deploy/web")
    assert (status.code, status.out) == (ERROR, 'deployment "web" is paused\n')
    assert "rollout resume" in status.err
    refused = web("rollout", "restart", "deploy/web")
    assert refused.err == (
        'error: deployments.apps "web" can\'t restart paused deployment (run rollout resume first)\n'
    )
    web("set", "env", "deploy/web", "COLOUR=red")
    resumed = web("rollout", "resume", "deploy/web")
    assert (resumed.code, resumed.out) == (0, "deployment.apps/web resumed\n")
    assert len(web("get", "rs", "-o", "name").lines) == 2
    assert web("rollout", "resume", "deploy/web").err == 'error: deployments.apps "web" is not paused\n'
    assert web("rollout", "status", "deploy/web").code == 0


def test_undo_of_a_paused_one_is_refused(web):
    web("set", "image", "deploy/web", "web=web:v2")
    web("rollout", "pause", "deploy/web")
    done = web("rollout", "undo", "deploy/web")
    assert done.code == ERROR
    assert "error: you cannot rollback a paused deployment; resume it first with" in done.err


def test_restart_replaces_every_pod(web):
    web("scale", "deploy/web", "--replicas=2")
    before = set(web("get", "pods", "-o", "name").lines)
    done = web("rollout", "restart", "deployment")
    assert (done.code, done.out) == (0, "deployment.apps/web restarted\n")
    after = set(web("get", "pods", "-o", "name").lines)
    assert len(after) == 2
    assert not before & after
    assert web("rollout", "restart", "cm/settings").err == 'error: configmaps "settings" restarting is not supported\n'
    assert web("rollout", "pause", "rs").err == "error: replicasets.apps pausing is not supported\n"


# --- set ---------------------------------------------------------------------------------------------------------


def test_set_image(web):
    assert web("set", "image", "deploy/web", "side=side:v2", "init=init:v2").out == (
        "deployment.apps/web image updated\n"
    )
    assert images(web) == {"init": "init:v2", "web": "web:v1", "side": "side:v2"}
    assert web("set", "image", "deploy/web", "side=side:v2").out == "", "nothing to change"
    missing = web("set", "image", "deploy/web", "nobody=x:1")
    assert (missing.code, missing.err) == (ERROR, 'error: unable to find container named "nobody"\n')
    dry = web("set", "image", "deploy", "*=all:1", "-l", "app=web", "--dry-run=server")
    assert dry.out == "deployment.apps/web image updated (server dry run)\n"
    assert images(web)["web"] == "web:v1"
    web("set", "image", "deploy", "--all", "*=all:1")
    assert set(images(web).values()) == {"all:1"}


def test_set_env(web):
    assert web("set", "env", "deploy/web", "COLOUR=red", "SIZE=a=b", "-c", "web").out == (
        "deployment.apps/web env updated\n"
    )
    env = [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "a=b"}]
    assert containers(web)["web"]["env"] == env
    assert "env" not in containers(web)["side"]
    web("set", "env", "deploy/web", "COLOUR-", "--from=cm/settings", "--prefix=APP_", "--containers=web")
    listed = web("set", "env", "deploy/web", "--list", "-c=web")
    assert listed.lines == [
        "# Deployment web, container web",
        "SIZE=a=b",
        "# APP_APP_NAME from configmap settings, key app-name",
        "# APP_LOG_LEVEL from configmap settings, key log.level",
    ]
    web("set", "env", "deploy/web", "APP_LOG_LEVEL=info", "-c=web")
    assert {"name": "APP_LOG_LEVEL", "value": "info"} in containers(web)["web"]["env"]
    kept = web("set", "env", "deploy/web", "SIZE=2", "--overwrite=false", "-c=web")
    assert kept.err == "error: 'SIZE' already has a value (a=b), and --overwrite is false\n"
    nothing = web("set", "env", "deploy/web", "X=1", "-c=nobody")
    assert nothing.err == 'warning: Deployment/web does not have any containers matching "nobody"\n'
    assert web("set", "env", "deploy/web").code == USAGE
    assert web("set", "env", "deploy/web", "A=1", "A-").code == USAGE


def test_set_resources(web):
    done = web("set", "resources", "deploy/web", "-c=web", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m")
    assert done.out == "deployment.apps/web resource requirements updated\n"
    assert containers(web)["web"]["resources"] == {
        "limits": {"cpu": "200m", "memory": "64Mi"},
        "requests": {"cpu": "100m", "memory": "64Mi"},
    }
    web("set", "resources", "deploy/web", "-c=web", "--limits=cpu=0")
    assert containers(web)["web"]["resources"]["limits"] == {"memory": "64Mi"}
    assert not containers(web)["side"].get("resources")
    wrong = web("set", "resources", "deploy/web", "--limits=cpu=lots")
    assert wrong.code == USAGE
    assert "--limits: cpu: " in wrong.err
    assert web("set", "resources", "deploy/web").code == USAGE
    missing = web("set", "resources", "deploy/web", "-c=nobody", "--limits=cpu=1")
    assert missing.err == "error: unable to find container named nobody\n"


SPLIT = {
    "name and updates": (["deploy/web", "a=b", "C-"], (["deploy/web"], ["a=b", "C-"])),
    "kind and names": (["deploy", "x", "y", "a=b"], (["deploy", "x", "y"], ["a=b"])),
    "no updates": (["deploy/web"], (["deploy/web"], [])),
}


@pytest.mark.parametrize("case", SPLIT.values(), ids=SPLIT.keys())
def test_resources_come_before_updates(case):
    words, wanted = case
    assert split(words) == wanted


def test_resources_after_updates_are_refused():
    with pytest.raises(UsageError, match="must be specified before"):
        split(["deploy/web", "a=b", "deploy/api"])


# --- the live view -----------------------------------------------------------------------------------------------


def test_the_live_view_names_revision_pod_node_and_step(web):
    from ktool.api.world import World

    web("scale", "deploy/web", "--replicas=2")
    objects = json.loads(web("get", "deploy,rs,pods", "-o", "json").out)["items"]
    (obj,) = [one for one in objects if one["kind"] == "Deployment"]
    lines = steps.rollout_lines(WORKLOAD.generations(obj, World(objects)))
    assert lines[0].split() == ["REVISION", "POD", "NODE", "STEP"]
    assert [line.split()[0:2] + line.split()[-1:] for line in lines[1:]] == [["1", "(new)", "ready"]] * 2
    assert all("sim-" in line for line in lines[1:])


# --- a node is lost on the way -----------------------------------------------------------------------------------


def test_a_node_that_goes_dark_is_named_with_exit_code_4_and_the_rest_converges(ktool, tmp_path, monkeypatch):
    monkeypatch.setattr("ktool.logic.workload.stranded.PATIENCE", 1.0)
    monkeypatch.setattr("ktool.cli.plumbing.converge.PATIENCE", 3.0)
    ktool("node", "add", "sim", "--simulated", "--count", 3, "--start-delay", "0.3s")
    path = tmp_path / "web.yaml"
    path.write_text(WEB.replace("replicas: 0", "replicas: 4"))
    assert ktool("apply", "-f", path).code == 0
    dark = threading.Timer(0.7, lambda: runtime.RUNTIMES["sim-2"].unplug())
    dark.start()
    done = ktool("set", "image", "deploy/web", "web=web:v2", "--timeout=60s")
    dark.join()
    assert done.code == PARTIAL, done.err
    assert "error: node sim-2 cannot be used: " in done.err
    status = deployment(ktool)["status"]
    assert (status["updatedReplicas"], status["availableReplicas"], status["replicas"]) == (4, 4, 4)
