"""`diff`, the plan of `apply --dry-run=server`, and `apply --rollback-on-failure`, with simulated nodes."""

from __future__ import annotations

import json

import pytest

from ktool.api.errors import ERROR, ROLLED_BACK
from ktool.cli.verbs.diff import masked

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "web:v1"}
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


# --- diff --------------------------------------------------------------------------------------------------------


def test_diff_of_what_is_not_there_is_all_of_it(cluster, web):
    done = cluster("diff", "-f", web)
    assert done.code == 1
    assert "--- LIVE/v1.ConfigMap.default.settings\n+++ MERGED/v1.ConfigMap.default.settings\n" in done.out
    assert "+  colour: blue\n" in done.out
    assert "+++ MERGED/apps.v1.Deployment.default.web\n" in done.out
    assert cluster("get", "cm,deploy").out == "", "nothing was written"


def test_diff_shows_what_apply_would_change_and_no_defaults(cluster, web):
    cluster("apply", "-f", web)
    same = cluster("diff", "-f", web)
    assert (same.code, same.out) == (0, "")
    web.write_text(WEB.replace("web:v1", "web:v2").replace("{colour: blue}", "{size: small}"))
    done = cluster("diff", "-f", web)
    assert done.code == 1
    changed = [line for line in done.lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert changed == ["-  colour: blue", "+  size: small", "-      - image: web:v1", "+      - image: web:v2"]


DIFF_FAILS = {
    "no file": (("-f", "/nowhere.yaml"), "nowhere.yaml"),
    "nothing given": ((), "must specify what to compare"),
}


@pytest.mark.parametrize("case", DIFF_FAILS.values(), ids=DIFF_FAILS.keys())
def test_an_error_of_diff_is_no_difference(cluster, case):
    words, said = case
    done = cluster("diff", *words)
    assert done.code > 1
    assert said in done.err


def test_a_refused_manifest_is_an_error_of_diff(cluster, web):
    web.write_text(WEB.replace("replicas: 4", "replicas: -4"))
    done = cluster("diff", "-f", web)
    assert done.code > 1
    assert "spec.replicas" in done.err


def test_values_of_secrets_are_masked():
    old = {"kind": "Secret", "data": {"kept": "YQ==", "changed": "Yg==", "gone": "Yw=="}}
    new = {"kind": "Secret", "data": {"kept": "YQ==", "changed": "ZA==", "made": "ZQ=="}}
    before, after = masked(old, new)
    assert before["data"] == {"kept": "***", "changed": "*** (before)", "gone": "***"}
    assert after["data"] == {"kept": "***", "changed": "*** (after)", "made": "***"}


# --- the plan ----------------------------------------------------------------------------------------------------


def plan(ktool, path):
    done = ktool("apply", "-f", path, "--dry-run=server")
    assert done.code == 0, done.err
    return done.lines[done.lines.index("") + 1 :] if "" in done.lines else []


def test_the_plan_of_a_first_rollout(cluster, web):
    lines = plan(cluster, web)
    assert lines[0] == "deployment.apps/web would go this way (at most 5 pods, at least 3 available):"
    assert lines[1].startswith("  1. start 4 pods of web-")
    assert lines[1].endswith(" on sim-1, sim-2, sim-1, sim-2")
    assert len(lines) == 2


def test_the_plan_of_a_change_names_pods_and_nodes_in_order(cluster, web):
    cluster("apply", "-f", web)
    assert plan(cluster, web) == [], "nothing would change"
    web.write_text(WEB.replace("web:v1", "web:v2"))
    pods = {line.removeprefix("pod/") for line in cluster("get", "pods", "-o", "name").lines}
    lines = plan(cluster, web)
    assert lines[1].startswith("  1. start 2 pods of web-"), "one above, and one for the one that stops"
    assert lines[2].startswith("     stop web-")
    stopped = [word for line in lines for word in line.replace(",", "").split() if word in pods]
    assert sorted(stopped) == sorted(pods), "each old pod stops once"
    started = sum(4 if "4 pods" in line else 2 if "2 pods" in line else "start a pod" in line for line in lines)
    assert started == 4
    assert {line.removeprefix("pod/") for line in cluster("get", "pods", "-o", "name").lines} == pods


def test_the_plan_says_what_fits_nowhere(cluster, web):
    web.write_text(WEB.replace('image: "web:v1"', 'image: "web:v1", resources: {requests: {cpu: "500"}}'))
    lines = plan(cluster, web)
    assert lines[1].startswith("  1. cannot start 4 pods of web-")
    assert "2 Insufficient cpu" in lines[1]


def test_the_plan_says_that_an_old_pod_goes_first(cluster, web):
    ports = 'image: "web:v1", ports: [{containerPort: 80, hostPort: 8080}]'
    text = WEB.replace("replicas: 4", "replicas: 2").replace('image: "web:v1"', ports)
    web.write_text(text)
    cluster("apply", "-f", web)
    web.write_text(text.replace("web:v1", "web:v2"))
    lines = plan(cluster, web)
    first_stop = next(index for index, line in enumerate(lines) if "stop " in line)
    first_start = next(index for index, line in enumerate(lines) if ". start " in line or "    start " in line)
    assert first_stop < first_start
    assert any("note: An old pod is stopped first" in line and "8080" in line for line in lines)
    assert cluster("apply", "-f", web, "--timeout=60s").code == 0, "and so it happens"


def test_the_plan_of_a_single_writer(cluster, web):
    text = WEB.replace("{name: web}", '{name: web, annotations: {ktool.dev/single-writer: "true"}}', 1)
    web.write_text(text.replace("replicas: 4", "replicas: 1"))
    cluster("apply", "-f", web)
    web.write_text(web.read_text().replace("web:v1", "web:v2"))
    lines = plan(cluster, web)
    assert lines[0] == "deployment.apps/web would go this way (at most 1 pods, at least 0 available):"
    assert lines[1].startswith("  1. stop web-")
    assert lines[2].startswith("  2. start a pod of web-")
    assert lines[3].startswith("  note: stop-first: ktool.dev/single-writer")


def test_the_plan_of_a_config_map_that_pods_follow(cluster, web):
    reads = 'image: "web:v1", envFrom: [{configMapRef: {name: settings}}]'
    follows = '{name: web, annotations: {ktool.dev/restart-on-config-change: "true"}}'
    web.write_text(WEB.replace('image: "web:v1"', reads).replace("{name: web}", follows, 1))
    cluster("apply", "-f", web)
    config = web.parent / "config.yaml"
    config.write_text(WEB.partition("---\n")[2].replace("blue", "red"))
    assert plan(cluster, config)[0].startswith("deployment.apps/web would go this way")
    before = set(cluster("get", "pods", "-o", "name").lines)
    done = cluster("apply", "-f", config)
    assert done.code == 0, done.err
    after = set(cluster("get", "pods", "-o", "name").lines)
    assert len(after) == 4
    assert not before & after, "the command waited for the rollout it brought about"


# --- rollback ----------------------------------------------------------------------------------------------------


def image(ktool):
    found = json.loads(ktool("get", "deploy", "web", "-o", "json").out)
    return found["spec"]["template"]["spec"]["containers"][0]["image"]


@pytest.fixture
def faulty(ktool):
    """Nodes on which web:v2 crashes with exit code 3, and web:v3 cannot be started."""
    fails = ("--fail", "Crash:3@*web:v2", "--fail", "RunContainerError@*web:v3")
    assert ktool("node", "add", "sim", "--simulated", "--count", 2, *fails).code == 0
    return ktool


def test_rollback_on_failure(faulty, web):
    text = WEB.replace("  replicas: 4", "  replicas: 1")
    web.write_text(text)
    assert faulty("apply", "-f", web).code == 0
    web.write_text(text.replace("web:v1", "web:v3"))
    done = faulty("apply", "-f", web, "--rollback-on-failure", "--timeout=60s")
    assert done.code == ROLLED_BACK, done.err
    assert done.lines[-1] == "deployment.apps/web rolled back to revision 1"
    assert "RunContainerError" in done.err
    assert image(faulty) == "web:v1"
    assert faulty("rollout", "status", "deploy/web").code == 0


def test_rollback_by_annotation(faulty, web):
    text = WEB.replace("  replicas: 4", "  replicas: 1")
    text = text.replace("{name: web}", '{name: web, annotations: {ktool.dev/rollback-on-failure: "true"}}', 1)
    web.write_text(text)
    assert faulty("apply", "-f", web).code == 0
    web.write_text(text.replace("web:v1", "web:v2"))
    done = faulty("apply", "-f", web, "--timeout=60s")
    assert done.code == ROLLED_BACK, done.err
    assert "error: deployment.apps/web was rolled back: revision 1 is back: pod web-" in done.err
    assert "exit code 3" in done.err
    assert image(faulty) == "web:v1"
    status = faulty("rollout", "status", "deploy/web")
    assert status.code == ROLLED_BACK
    assert "was rolled back: revision 1 is back" in status.out
    faulty("scale", "deploy/web", "--replicas=0")
    assert faulty("rollout", "status", "deploy/web").code == 0, "something else was asked for"


def test_there_is_nothing_to_roll_back_to(faulty, web):
    web.write_text(WEB.replace("web:v1", "web:v3"))
    done = faulty("apply", "-f", web, "--rollback-on-failure", "--timeout=60s")
    assert done.code == ERROR
    assert "cannot be rolled back: no other revision of it was ever complete" in done.err
