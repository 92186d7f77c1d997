"""A kind with a plan is one source file and one golden folder: Job in its simplest form, from YAML to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ktool import app
from ktool.api.world import World
from tests.cli.conftest import Ktool, cluster, home, ktool
from tests.onekind.job import KIND

__all__ = ["cluster", "home", "ktool"]

MANIFEST = """
apiVersion: batch/v1
kind: Job
metadata: {name: pi}
spec:
  completions: 3
  parallelism: 2
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: pi, image: "registry.lab/web:v1"}]
"""


@pytest.fixture(autouse=True)
def job() -> Iterator[None]:
    app.kinds().add(KIND)
    yield
    app.kinds().remove(KIND.gk)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent / "golden/job").glob("*.yaml")), ids=lambda path: path.stem
)
def test_plan(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    given = case["given"]
    assert KIND.controller.plan is not None
    plan = KIND.controller.plan(
        given["object"], World([given["object"], *given.get("world", ())]), given.get("now", 0.0)
    )
    assert plan.to_json() == case["expect"]


def test_from_yaml_to_complete(cluster: Ktool, manifest: Path) -> None:
    done = cluster("apply", "-f", manifest, "--timeout", "60s")
    assert done.code == 0 and done.lines[0] == "job.batch/pi created", done.err
    assert cluster("get", "jobs").lines[1].split()[:2] == ["pi", "3/3"]
    assert "3 Succeeded" in cluster("describe", "job", "pi").out
    assert "How many pods have to succeed." in cluster("explain", "job.spec").out
    assert cluster("rollout", "status", "job/pi").code == 0
    pods = cluster("get", "pods", "-o", "name").lines
    assert len(pods) == 3
    assert cluster("logs", "job/pi").out.startswith("simulated container pi of pod default/pi-")
    refused = cluster("rollout", "restart", "job/pi")
    assert (refused.code, refused.err) == (1, 'error: jobs.batch "pi" restarting is not supported\n')
    assert "have no history of revisions" in cluster("rollout", "undo", "job/pi").err
    assert cluster("apply", "-f", manifest).lines == ["job.batch/pi unchanged"]
    assert cluster("delete", "job", "pi").code == 0
    assert cluster("get", "pods", "-o", "name").lines == []


def test_what_it_would_do_is_rehearsed(cluster: Ktool, manifest: Path) -> None:
    said = cluster("apply", "-f", manifest, "--dry-run=server").out
    assert "job.batch/pi would go this way" in said and "start 2 pods of pi on " in said
    assert cluster("get", "jobs,pods", "-o", "name").lines == []


def test_logs_find_the_pods_of_an_owner_at_any_depth(cluster: Ktool, manifest: Path) -> None:
    """Here ConfigMap -> Job -> Pod: neither kind says how it selects pods."""
    assert cluster("create", "configmap", "run").code == 0
    assert cluster("logs", "cm/run").err == "error: configmap/run has no pods of its own\n"
    own = cluster("get", "cm", "run", "-o", "jsonpath={.metadata.uid}").out
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "run", "uid": own}
    owned = {**yaml.safe_load(MANIFEST), "metadata": {"name": "pi", "ownerReferences": [owner]}}
    manifest.write_text(json.dumps(owned))
    assert cluster("apply", "-f", manifest, "--timeout", "60s").code == 0
    found = cluster("logs", "cm/run")
    assert found.out.startswith("simulated container pi of pod default/pi-"), found.err
    assert "in a completed pod" in cluster("exec", "job/pi", "--", "ls").err


def test_a_job_that_fails_says_so(ktool: Ktool, manifest: Path, tmp_path: Path) -> None:
    notes = {"ktool.dev/connection": "simulated://?fail=Crash:1@registry.lab/web*"}
    node = tmp_path / "node.json"
    node.write_text(json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "annotations": notes}}))
    assert ktool("apply", "-f", node).code == 0
    done = ktool("apply", "-f", manifest, "--timeout", "60s")
    assert done.code == 1 and "has reached its backoff limit" in done.err


def test_its_pods_are_its_own(cluster: Ktool, manifest: Path) -> None:
    wrong = manifest.read_text().replace("restartPolicy: Never", "restartPolicy: Always")
    manifest.write_text(wrong)
    refused = cluster("apply", "-f", manifest)
    assert refused.code == 1 and 'restartPolicy: must be "Never" or "OnFailure", not "Always"' in refused.err
