"""When a pod that looks Ready is believed."""

from __future__ import annotations

import time

import pytest

from ktool.api.obj import timestamp
from ktool.follow.doubt import MOMENT, RESTARTED, Doubt


def pod(name: str, owner: str = "", ready: float = 60.0, code: int | None = None, started: float = 60.0):
    """Ready since so many seconds; its container running since `started`, after one that ended with `code`."""
    now = time.time()
    last = {} if code is None else {"terminated": {"exitCode": code, "finishedAt": timestamp(now - started)}}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": name, **({"ownerReferences": [{"uid": owner}]} if owner else {})},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": timestamp(now - ready)}],
            "containerStatuses": [
                {"name": "c", "state": {"running": {"startedAt": timestamp(now - started)}}, "lastState": last}
            ],
        },
    }


@pytest.mark.parametrize(
    ("pods", "doubted"),
    [
        ([], ""),
        ([{"name": "old"}], ""),
        ([{"name": "new", "ready": 0}], "pod new has just become ready"),
        ([{"name": "new", "owner": "a", "ready": 0}, {"name": "old", "owner": "a"}], ""),
        ([{"name": "new", "owner": "a", "ready": 0}, {"name": "old", "owner": "b"}], "pod new has just become ready"),
        ([{"name": "old", "code": 3, "started": 1}], "pod old: container c was started again after exit code 3"),
        ([{"name": "old", "code": 0, "started": 1}], ""),
        ([{"name": "old", "code": 3, "started": RESTARTED + 2}], ""),
        ([{"name": "elsewhere", "code": 3, "started": -3600}], ""),
    ],
    ids=[
        "no pods",
        "ready for long",
        "ready just now",
        "another one of its template stays",
        "one of another template does not speak for it",
        "started again after a failure",
        "started again after a success",
        "started again long ago",
        "a node whose clock is an hour ahead",
    ],
)
def test_doubt(pods, doubted):
    assert Doubt().about([pod(**words) for words in pods]) == doubted


def test_doubt_ends_after_a_moment():
    doubt, new = Doubt(), pod("new", ready=0)
    began = time.monotonic()
    assert doubt.about([new])
    assert 0 <= doubt.until - MOMENT - began < 0.5, "whoever waits looks again when it can be told, not later"
    time.sleep(MOMENT)
    assert not doubt.about([new])


def test_time_before_the_object_was_done_counts():
    doubt, first, last = Doubt(), pod("first", "a", ready=0), pod("last", "a", ready=0)
    doubt.look([first])
    time.sleep(MOMENT)
    assert doubt.about([first, last]) == ""


def test_a_pod_that_was_not_ready_in_between_begins_anew():
    doubt, new = Doubt(), pod("new", ready=0)
    doubt.look([new])
    time.sleep(MOMENT)
    doubt.look([{**new, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}])
    assert doubt.about([new])
