"""The verbs on a real Registry, with the control plane in the process and simulated nodes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from ktool.api.errors import ERROR, INTERRUPTED, LOCKED, PARTIAL, TIMEOUT
from ktool.api.ref import CONFIG_MAP
from tests.everykind import KINDS

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "web:v1"}
      - {name: side, image: "side:v1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: blue}
"""


@pytest.fixture
def web(tmp_path):
    path = tmp_path / "web.yaml"
    path.write_text(WEB)
    return path


def pod_names(ktool) -> list[str]:
    return ktool("get", "pods", "-o", "name").lines


# --- apply and create --------------------------------------------------------------------------------------------


def test_apply_creates_then_leaves_alone_then_configures(cluster, web):
    first = cluster("apply", "-f", web)
    assert (first.code, first.lines) == (0, ["configmap/settings created", "deployment.apps/web created"])
    assert 'deployment "web" successfully rolled out' in first.err
    second = cluster("apply", "-f", web)
    assert (second.code, second.lines) == (0, ["configmap/settings unchanged", "deployment.apps/web unchanged"])
    assert second.err == ""
    web.write_text(WEB.replace("replicas: 2", "replicas: 3"))
    third = cluster("apply", "-f", web)
    assert third.lines == ["configmap/settings unchanged", "deployment.apps/web configured"]
    assert len(pod_names(cluster)) == 3


def test_half_a_folder_wrong_changes_nothing(cluster, web):
    (web.parent / "bad.yaml").write_text(WEB.replace("containers:", "conatiners:").replace("web,", "web2,"))
    done = cluster("apply", "-f", web.parent)
    assert done.code == ERROR
    assert (
        "bad.yaml:10: document 1: Deployment web2: spec.template.spec.conatiners: unknown field; did you mean"
        in done.err
    )
    assert done.err.splitlines()[-1] == "nothing was applied"
    assert cluster("get", "all,cm").err == "No resources found in default namespace.\n"


@pytest.mark.parametrize(
    ("how", "first", "second"), [("client", "created (dry run)", "configured (dry run)"),
                                 ("server", "created (server dry run)", "unchanged (server dry run)")]
)  # fmt: skip
def test_dry_runs_change_nothing(cluster, web, how, first, second):
    assert cluster("apply", "-f", web, f"--dry-run={how}").lines[0] == f"configmap/settings {first}"
    assert cluster("get", "cm").out == ""
    cluster("apply", "-f", web)
    assert cluster("apply", "-f", web, "--dry-run", how).lines[1] == f"deployment.apps/web {second}"


def test_what_the_server_refuses_is_placed_too(cluster, web):
    text = WEB.replace("metadata: {name: settings}", "metadata: {name: settings, namespace: nowhere}")
    web.write_text(text)
    done = cluster("apply", "-f", web)
    assert done.code == ERROR
    assert 'namespaces "nowhere" not found' in done.err
    assert cluster("get", "deploy").out == ""


def test_apply_names_what_it_does_not_act_on(cluster, web):
    web.write_text(WEB.replace("    spec:\n", "    spec:\n      schedulerName: mine\n"))
    assert "Warning: deployment.apps/web: " in cluster("apply", "-f", web).err
    cluster("delete", "-f", web)
    strict = cluster("apply", "-f", web, "--strict")
    assert strict.code == ERROR
    assert "web.yaml:10: document 1: Deployment web: spec.template.spec.schedulerName" in strict.err


def test_a_pod_that_crashes_is_said_with_exit_code_and_last_lines(ktool, web):
    ktool("node", "add", "sim", "--simulated", "--fail", "Crash:3@*web:*")
    web.write_text(WEB.replace("  replicas: 2", "  replicas: 2\n  minReadySeconds: 5"))
    done = ktool("apply", "-f", web, "--timeout", "60s")
    assert done.code == ERROR
    assert "error: deployment.apps/web: " in done.err
    assert "CrashLoopBackOff" in done.err
    assert "container web: exit code 3, its last lines:\n    simulated container web of pod" in done.err


def test_an_image_that_cannot_be_pulled_is_said(ktool, web):
    ktool("node", "add", "sim", "--simulated", "--fail", "ErrImagePull@web*")
    done = ktool("apply", "-f", web, "--timeout", "60s")
    assert done.code == ERROR
    assert "ImagePullBackOff" in done.err


def test_the_time_is_over(ktool, web):
    ktool("node", "add", "sim", "--simulated", "--start-delay", "60s")
    began = time.monotonic()
    done = ktool("apply", "-f", web, "--timeout", "1s")
    assert done.code == TIMEOUT
    assert time.monotonic() - began < 10
    assert "error: timed out after 1s waiting for deployment.apps/web: " in done.err


def test_pods_that_fit_nowhere_end_the_wait_before_the_time_is_over(ktool, web, monkeypatch):
    monkeypatch.setattr("ktool.cli.plumbing.converge.PATIENCE", 0.5)
    ktool("node", "add", "sim", "--simulated", "--taint", "only=others:NoSchedule")
    done = ktool("apply", "-f", web)
    assert done.code == ERROR
    assert "untolerated taint" in done.err


def test_nodes_that_cannot_be_reached_are_named_with_exit_code_4(cluster, web, monkeypatch):
    from ktool.node.simulated import runtime

    monkeypatch.setattr("ktool.cli.plumbing.converge.PATIENCE", 1.0)
    cluster("apply", "-f", web)
    for machine in runtime.RUNTIMES.values():
        machine.unplug()
    done = cluster("delete", "deploy", "web", "--timeout", "60s")
    assert done.code == PARTIAL, done.err
    assert "error: node sim-" in done.err


def test_create(cluster, web):
    assert cluster("create", "-f", web, "-o", "name").lines == ["configmap/settings", "deployment.apps/web"]
    again = cluster("create", "-f", web)
    assert again.code == ERROR
    assert again.err.splitlines()[0] == (
        f'{web}:14: Error from server (AlreadyExists): configmaps "settings" already exists'
    )


def test_create_generates_names(cluster, web):
    web.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: run-}\n")
    assert cluster("create", "-f", web).out.startswith("configmap/run-")
    assert "cannot use generateName with apply" in cluster("apply", "-f", web).err


# --- get ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(cluster, web):
    assert cluster("apply", "-f", web).code == 0
    return cluster


GETS = {
    "a table": (["get", "deploy"], lambda out: out.split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]),
    "by kind and name": (["get", "deploy", "web", "-o", "name"], lambda out: out == "deployment.apps/web\n"),
    "by kind/name": (["get", "deploy/web", "cm/settings", "-o", "name"],
                     lambda out: out == "deployment.apps/web\nconfigmap/settings\n"),
    "several kinds": (["get", "cm,deploy", "-o", "name"],
                      lambda out: out == "configmap/settings\ndeployment.apps/web\n"),
    "all": (["get", "all"], lambda out: {"pod/web-", "deployment.apps/web", "replicaset.apps/web-"} <= {
        word.rsplit("-", 2)[0] + "-" if word.startswith("pod/") else word.rsplit("-", 1)[0] + "-"
        if word.startswith("replicaset") else word for line in out.splitlines() if line for word in line.split()[:1]}),
    "everywhere": (["get", "cm", "-A", "--no-headers"], lambda out: out.split()[:2] == ["default", "settings"]),
    "labels": (["get", "pods", "-l", "app=web", "-o", "name"], lambda out: len(out.splitlines()) == 2),
    "other labels": (["get", "pods", "-l", "app!=web", "-o", "name"], lambda out: out == ""),
    "fields": (["get", "pods", "--field-selector", "status.phase=Running", "-o", "name"],
               lambda out: len(out.splitlines()) == 2),
    "one as itself": (["get", "cm", "settings", "-o", "jsonpath={.data.colour}"], lambda out: out == "blue"),
    "many as a list": (["get", "cm", "-o", "jsonpath={.items[0].data.colour}"], lambda out: out == "blue"),
    "yaml": (["get", "cm", "settings", "-o", "yaml"], lambda out: "\ndata:\n  colour: blue\nkind: ConfigMap\n" in out),
    "of a file": (["get", "-o", "name", "-f", "@"], lambda out: out == "configmap/settings\ndeployment.apps/web\n"),
    "sorted": (["get", "pods", "--sort-by", ".metadata.name", "-o", "name"],
               lambda out: out.splitlines() == sorted(out.splitlines())),
    "nothing, quietly": (["get", "pod", "gone", "--ignore-not-found"], lambda out: out == ""),
}  # fmt: skip


@pytest.mark.parametrize(("argv", "holds"), GETS.values(), ids=list(GETS))
def test_get(running, web, argv, holds):
    done = running(*[web if arg == "@" else arg for arg in argv])
    assert done.code == 0, done.err
    assert holds(done.out), done.out
    assert "\x1b" not in done.out


def test_get_of_some_that_are_not_there_shows_the_others(running):
    done = running("get", "deploy", "web", "gone", "-o", "name")
    assert (done.code, done.out) == (1, "deployment.apps/web\n")
    assert done.err == 'Error from server (NotFound): deployments.apps "gone" not found\n'


def test_watch_shows_what_changes(running, monkeypatch, capfd):
    from ktool.client import local

    stop = threading.Event()
    real = local.LocalClient.watch

    def bounded(self, *args, **kwargs):
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        return real(self, *args, **{**kwargs, "timeout": 1.0})

    def change() -> None:
        time.sleep(0.3)
        from ktool import app
        from ktool.api.ref import Ref

        with app.session(act=False) as opened:
            opened.client.patch(Ref(CONFIG_MAP, "default", "settings"), {"data": {"size": "big"}})

    thread = threading.Thread(target=change)
    thread.start()
    monkeypatch.setattr(local.LocalClient, "watch", bounded)
    done = running("get", "cm", "-w")
    thread.join()
    assert done.code == INTERRUPTED
    assert [line.split()[:2] for line in done.lines] == [["NAME", "DATA"], ["settings", "1"], ["settings", "2"]]


# --- describe, logs, exec, events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["deploy", "web"],
         ["Replicas:               2 desired | 2 updated | 2 total | 2 available", "ScalingReplicaSet"]),
        (["rs"], ["Controlled By:  Deployment/web", "2 Running / 0 Waiting"]),
        (["pod", "web-"], ["Controlled By:    ReplicaSet/web-", "Image:          web:v1", "Scheduled"]),
        (["node", "sim-1"], ["ktool.dev/simulated=true", "Allocated resources:"]),
        (["cm", "settings"], ["colour:\n----\nblue\n"]),
        (["ns", "default"], ["Status:       Active"]),
        (["lease", "ktool", "-n", "kube-system"], ["Lease Transitions:"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and len(value[0]) < 9 else "",
)  # fmt: skip
def test_describe(running, argv, parts):
    done = running("describe", *argv)
    assert done.code == 0, done.err
    for part in parts:
        assert part in done.out


def test_logs(running):
    pod = pod_names(running)[0].removeprefix("pod/")
    assert running("logs", pod, "-c", "side").lines == [
        f"simulated container side of pod default/{pod} on node {node_of(running, pod)}",
        "image docker.io/library/side:v1",
    ]
    defaulted = running("logs", pod)
    assert defaulted.err == 'Defaulted container "web" out of: web, side\n'
    assert running("logs", "deploy/web", "side", "--tail=1").out == "image docker.io/library/side:v1\n"
    every = running("logs", "-l", "app=web", "--all-containers", "--prefix", "--tail=1")
    assert len(every.lines) == 4
    assert f"[pod/{pod}/web] image docker.io/library/web:v1" in every.lines
    followed = running("logs", "-l", "app=web", "--all-containers", "--prefix", "--tail=1", "-f")
    assert sorted(followed.lines) == sorted(every.lines)
    assert "container nope is not in pod" in running("logs", pod, "-c", "nope").err


def node_of(ktool, pod: str) -> str:
    return ktool("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}").out


def test_exec_says_what_the_node_refuses(running):
    done = running("exec", "deploy/web", "-c", "web", "--", "ls", "-l")
    assert done.code == ERROR
    assert "is simulated and runs no commands" in done.err


def test_events(running):
    done = running("events")
    assert done.lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    only = running("events", "--for", "deploy/web", "--no-headers")
    assert only.lines and all("deployment/web" in line for line in only.lines)
    assert running("events", "--types", "warning").err == "No events found in default namespace.\n"


# --- scale, rollout, delete ----------------------------------------------------------------------------------------


def test_scale(running):
    assert running("scale", "deploy/web", "--replicas=4").lines == ["deployment.apps/web scaled"]
    assert len(pod_names(running)) == 4
    wrong = running("scale", "deploy/web", "--current-replicas=3", "--replicas=1")
    assert (wrong.code, wrong.err) == (1, "error: deployment.apps/web: expected replicas to be 3, was 4\n")
    assert running("scale", "deploy/web", "--current-replicas=4", "--replicas=1").code == 0
    assert len(pod_names(running)) == 1
    stale = running("scale", "deploy/web", "--resource-version=1", "--replicas=2")
    assert (stale.code, "Conflict" in stale.err) == (1, True)


def test_rollout_status(running):
    assert running("rollout", "status", "deploy/web").out == 'deployment "web" successfully rolled out\n'
    assert running("rollout", "status", "deploy/gone").code == ERROR
    assert "have no rollout" in running("rollout", "status", "cm/settings").err


def test_rollout_status_goes_on_with_what_another_command_left(cluster, web):
    from ktool import app
    from ktool.manifests.load import load

    with app.session(act=False) as opened:
        opened.client.apply([manifest.obj for manifest in load([str(web)], KINDS, namespace="default")])
    shown = cluster("rollout", "status", "deploy/web", "--watch=false")
    assert shown.code == 0 and "successfully" not in shown.out
    done = cluster("rollout", "status", "deploy/web")
    assert (done.code, done.lines[-1]) == (0, 'deployment "web" successfully rolled out')


def test_delete_waits_for_all_that_hangs_on_it(running):
    done = running("delete", "deploy/web")
    assert (done.code, done.out) == (0, 'deployment.apps "web" deleted\n')
    assert running("get", "all").err == "No resources found in default namespace.\n"
    assert running("get", "cm", "-o", "name").out == "configmap/settings\n"


def test_delete_of_a_file_in_reverse(running, web):
    assert running("delete", "-f", web).lines == ['deployment.apps "web" deleted', 'configmap "settings" deleted']
    gone = running("delete", "-f", web)
    assert gone.code == ERROR and gone.err.count("NotFound") == 2
    assert running("delete", "-f", web, "--ignore-not-found").code == 0


def test_delete_and_leave_orphans(running):
    assert running("delete", "deploy/web", "--cascade=orphan").code == 0
    assert len(pod_names(running)) == 2


def test_delete_by_label_and_all(running):
    assert running("delete", "pods", "-l", "app=nothing").err == "No resources found\n"
    assert running("delete", "cm", "--all", "--dry-run=server").out == 'configmap "settings" deleted (server dry run)\n'
    assert running("delete", "cm,deploy", "--all").code == 0
    assert running("get", "cm,deploy,pods").out == ""


def test_deleting_a_namespace_empties_it(cluster, web):
    web.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n" + WEB)
    assert cluster("apply", "-n", "shop", "-f", web).code == 0
    assert cluster("delete", "ns", "shop").code == 0
    assert cluster("get", "pods,deploy,cm", "-A", "-o", "name").out == ""


# --- the rest ----------------------------------------------------------------------------------------------------


def test_nodes(ktool):
    added = ktool("node", "add", "sim", "--simulated", "--count", 3, "--label", "disk=ssd", "--taint", "a=b:NoSchedule")
    assert added.lines == [f"node/sim-{n} added" for n in (1, 2, 3)]
    assert "exist already" in ktool("node", "add", "sim", "--simulated", "--count", 2).err
    listed = ktool("node", "list")
    assert [line.split()[:2] for line in listed.lines[1:]] == [[f"sim-{n}", "Ready,Simulated"] for n in (1, 2, 3)]
    node = json.loads(ktool("get", "node", "sim-1", "-o", "json").out)
    assert node["metadata"]["labels"]["disk"] == "ssd"
    assert node["spec"]["taints"] == [{"key": "a", "value": "b", "effect": "NoSchedule"}]
    assert "Taints:             a=b:NoSchedule" in ktool("node", "show", "sim-1").out
    assert ktool("node", "remove", "sim-1").code == 0
    assert ktool("node", "remove", "sim-2", "--force").out == "node/sim-2 removed\n"
    assert ktool("node", "remove", "sim-1").code == ERROR
    assert ktool("node", "list", "-o", "name").lines == ["node/sim-3"]


def test_lock(ktool):
    assert ktool("lock").out == "nobody holds the lock\n"
    assert ktool("lock", "break").out == "nobody holds the lock\n"


def test_somebody_else_at_work_is_exit_code_5_and_named(ktool, home, web):
    from ktool import app

    def other(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "ktool", *argv], capture_output=True, text=True, timeout=60)

    with app.session(act=True):
        held = other("lock").stdout
        assert "holds the lock for" in held and "(token " in held
        done = other("apply", "-f", str(web), "--lock-timeout=0.3s")
        assert done.returncode == LOCKED
        assert "is acting on this cluster; waited 0.3 s" in done.stderr
        assert other("lock", "break").stdout.startswith("the lock was taken from `")


def test_version(ktool):
    assert ktool("version", "--client").lines[0].startswith("Client Version: v")
    both = json.loads(ktool("version", "-o", "json").out)
    assert both["clientVersion"]["gitVersion"] == both["serverVersion"]["gitVersion"]


def test_explain(ktool):
    assert (
        "KIND:       Pod\nVERSION:    v1\n\nFIELD: containers <[]Object>" in ktool("explain", "po.spec.containers").out
    )
    tree = ktool("explain", "deploy", "--recursive").out
    assert "      rollingUpdate\t<Object>\n        maxSurge\t<IntOrString>\n" in tree


# --- with a server -----------------------------------------------------------------------------------------------


@pytest.fixture
def served(cluster):
    """The same commands, each a process of its own, with a server that acts."""
    from ktool import app

    stop, said = threading.Event(), []
    thread = threading.Thread(target=app.serve, args=(said.append, stop))
    thread.start()
    while not said:
        assert thread.is_alive()
        time.sleep(0.01)

    def call(*argv: object) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "ktool", *map(str, argv)]
        return subprocess.run(program, capture_output=True, text=True, timeout=60)

    yield call
    stop.set()
    thread.join()


def test_the_main_job_with_a_server(served, web):
    applied = served("apply", "-f", web, "--wait", "--timeout=60s")
    assert applied.returncode == 0, applied.stderr
    assert served("get", "pods", "-o", "name").stdout.count("pod/web-") == 2
    assert served("logs", "-l", "app=web", "-c", "side", "--prefix", "--tail=1").stdout.count("/side] image") == 2
    assert "Scheduled" in served("describe", "pods").stdout
    assert served("rollout", "status", "deploy/web").stdout == 'deployment "web" successfully rolled out\n'
    assert served("scale", "deploy/web", "--replicas=3", "--wait").returncode == 0
    assert "`" in served("lock").stdout
    assert "is simulated" in served("exec", "deploy/web", "-c", "web", "--", "ls").stderr
    assert served("delete", "-f", web).returncode == 0
    assert served("get", "deploy").stderr == "No resources found in default namespace.\n"


HEAVY = ("rich", "yaml", "sqlalchemy", "paramiko", "podman", "pydantic", "requests", "ktool.store", "ktool.control")


def test_get_with_a_server_imports_nothing_heavy(served):
    code = "import sys; from ktool.cli.main import run; run(['get', 'pods']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert [module for module in HEAVY if module in done.stdout.split()] == []
