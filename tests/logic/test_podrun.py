"""Crash loops: what is derived from the status and the node's facts alone, with Podman restarting in between."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from ktool.api.obj import epoch, get, timestamp
from ktool.logic.node import backoff
from ktool.logic.node.nodeaction import ContainerFact, PodFact
from ktool.logic.pod import podrun, podstatus
from tests.logic.nodemodel import NODE, pod

START = 1_700_000_000.0


@dataclass
class Crasher:
    """A container under Podman's restart policy that ends `life` seconds after each start, restarted after 0.2 s."""

    life: float
    now: float = START
    runs: int = 1
    exit_code: int = 3
    fact: ContainerFact = field(default_factory=lambda: ContainerFact("web", "c1", "running", started_at=START))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.fact.state == "running" and self.fact.started_at + self.life <= end:
            died = self.fact.started_at + self.life
            self.fact = replace(
                self.fact,
                started_at=died + 0.2,
                finished_at=died,
                exit_code=self.exit_code,
                restarts=self.fact.restarts + 1,
            )
            self.runs += 1
        self.now = end

    def stop(self) -> None:
        self.fact = replace(self.fact, state="exited", finished_at=self.now, exit_code=143)

    def start(self) -> None:
        self.fact = replace(self.fact, state="running", started_at=self.now, restarts=0)
        self.runs += 1


def watch(crasher: Crasher, seconds: float, interval: float, before: dict | None = None):
    """Play the control plane: observe every `interval`, stop and start as told. Gives (status entry, pauses, codes)."""
    wanted = pod("web")
    if before:
        wanted["status"] = {"containerStatuses": [before]}
    pauses, codes, stopped_at = [], [], 0.0
    end = crasher.now + seconds
    while crasher.now < end:
        fact = PodFact("uid-web", "default", "web", "p1", "h", "10.244.1.2", "running", (crasher.fact,))
        status = podstatus.status(wanted, fact, node=NODE, failures={}, now=crasher.now)
        again = podstatus.status({**wanted, "status": status}, fact, node=NODE, failures={}, now=crasher.now)
        assert again is status, "the same facts give the same status"
        run = podstatus.container_runs(wanted, fact, crasher.now)["web"]
        wanted = {**wanted, "status": status}
        entry = status["containerStatuses"][0]
        if run.stop:
            assert get(entry, "state", "waiting", "reason") == "CrashLoopBackOff"
            codes.append(get(entry, "lastState", "terminated", "exitCode"))
            crasher.stop()
            stopped_at = crasher.now
        elif run.state == "exited" and crasher.now >= run.until:
            pauses.append(crasher.now - stopped_at)
            crasher.start()
        crasher.advance(interval)
    return wanted["status"]["containerStatuses"][0], pauses, codes


@pytest.mark.parametrize("life, interval", [(0.5, 0.3), (1.0, 0.5), (5.0, 1.0), (30.0, 1.0)])
def test_a_crash_loop_waits_as_in_kubernetes(life, interval):
    crasher = Crasher(life)
    entry, pauses, codes = watch(crasher, 2500, interval)
    assert [round(pause, -1) for pause in pauses[:6]] == [10, 20, 40, 80, 160, 300]
    assert all(300 <= pause <= 302 for pause in pauses[5:])
    assert set(codes) == {3}, "what is shown is the crash, not the end we made"
    assert abs(entry["restartCount"] - (crasher.runs - 1)) <= 2


def test_a_new_control_plane_carries_on_with_the_back_off():
    crasher = Crasher(1.0)
    entry, pauses, _ = watch(crasher, 100, 0.5)
    _, later, _ = watch(crasher, 400, 0.5, before=entry)
    assert [round(pause, -1) for pause in pauses] == [10, 20, 40]
    assert [round(pause, -1) for pause in later[1:]] == [160]


def test_a_container_that_recovered_begins_anew():
    crasher = Crasher(1.0)
    entry, _, _ = watch(crasher, 100, 0.5)
    crasher.life = 2000.0
    entry, _, _ = watch(crasher, 1500, 5.0, before=entry)
    assert "running" in entry["state"]
    count = entry["restartCount"]
    crasher.life = 1.0
    entry, pauses, _ = watch(crasher, 60, 0.5, before=entry)
    assert entry["restartCount"] > count
    assert [round(pause, -1) for pause in pauses[:2]] == [10, 20]


def test_a_rare_crash_is_left_to_podman():
    crasher = Crasher(3000.0)
    entry, pauses, codes = watch(crasher, 20_000, 7.0)
    assert not pauses and not codes
    assert entry["restartCount"] == crasher.runs - 1 == 6
    assert get(entry, "lastState", "terminated", "exitCode") == 3


def test_the_count_never_falls():
    before = {
        "name": "web",
        "restartCount": 9,
        "containerID": "podman://c1",
        "state": {"running": {"startedAt": timestamp(START)}},
    }
    fact = ContainerFact("web", "c2", "running", started_at=START + 50)
    assert podrun.assess(before, fact, policy="Always", init=False, now=START + 60).restarts == 10


@pytest.mark.parametrize(
    "policy, code, oom, final, reason",
    [
        ("Always", 0, False, False, "Completed"),
        ("Always", 1, False, False, "Error"),
        ("OnFailure", 0, False, True, "Completed"),
        ("OnFailure", 137, True, False, "OOMKilled"),
        ("Never", 0, False, True, "Completed"),
        ("Never", 2, False, True, "Error"),
    ],
)
def test_how_a_container_ends(policy, code, oom, final, reason):
    fact = ContainerFact("web", "c1", "exited", exit_code=code, started_at=START, finished_at=START + 1, oom_killed=oom)
    run = podrun.assess({}, fact, policy=policy, init=False, now=START + 2)
    assert (run.final, run.ended["reason"], run.ended["exitCode"]) == (final, reason, code)
    assert epoch(run.ended["finishedAt"]) == START + 1


def test_delays_double_up_to_their_cap():
    assert [backoff.delay(count) for count in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert [backoff.delay(count, 1, 60) for count in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [backoff.following(w) for w in (0, 9.9, 10, 25, 85, 160, 300, 305, 700)] == [
        10, 10, 20, 40, 160, 300, 300, 300, 10,
    ]  # fmt: skip


@pytest.mark.parametrize("seconds, text", [(0, "0s"), (10, "10s"), (80, "1m20s"), (300, "5m0s")])
def test_durations_as_go_prints_them(seconds, text):
    assert backoff.duration(seconds) == text and backoff.parse_duration(text) == seconds


def test_another_container_in_the_very_second_is_a_restart() -> None:
    """A person removed the container, and the next one began before the second was over."""
    before = {
        "name": "main",
        "restartCount": 1,
        "containerID": "podman://old",
        "state": {"running": {"startedAt": "1970-01-01T00:16:40Z"}},
    }
    fact = ContainerFact("main", "new", "running", started_at=1000.9)
    run = podrun.assess(before, fact, policy="Always", init=False, now=1001.0)
    assert run.restarts == 2 and run.last is not None and run.last["exitCode"] == 137
    same = podrun.assess({**before, "containerID": "podman://new"}, fact, policy="Always", init=False, now=1001.0)
    assert same.restarts == 1
