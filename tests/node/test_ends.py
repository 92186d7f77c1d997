"""What Podman's journal of events says about the end of a run."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.node.podman.runends import exit_code, last_death, was_killed


def event(action: str, at: float, code: str = "") -> dict[str, Any]:
    attributes = {"containerExitCode": code} if code else {}
    return {"Action": action, "timeNano": int(at * 1e9), "Actor": {"Attributes": attributes}}


TWO_CRASHES = [event("died", 10.1, "3"), event("died", 20.1, "4")]


@pytest.mark.parametrize(
    ("events", "finished", "code"),
    [
        pytest.param(TWO_CRASHES, 10.0, 3, id="the-first"),
        pytest.param(TWO_CRASHES, 20.0, 4, id="the-second"),
        pytest.param(TWO_CRASHES, 30.0, 9, id="not-in-the-journal"),
        pytest.param([event("died", 10.1)], 10.0, 9, id="an-event-without-a-code"),
        pytest.param([], 10.0, 9, id="no-journal"),
    ],
)
def test_the_exit_code_of_the_run_that_ended_then(events: list[Any], finished: float, code: int) -> None:
    assert exit_code(events, finished, 9) == code


@pytest.mark.parametrize(
    ("events", "started", "death"),
    [
        pytest.param(TWO_CRASHES, 10.2, (3, 10.1), id="the-first"),
        pytest.param(TWO_CRASHES, 20.2, (4, 20.1), id="the-second"),
        pytest.param(TWO_CRASHES, 10.0, None, id="none-before"),
        pytest.param([event("died", 10.1)], 11.0, None, id="an-event-without-a-code"),
    ],
)
def test_the_run_before(events: list[Any], started: float, death: Any) -> None:
    assert last_death(events, started) == death


@pytest.mark.parametrize(
    ("events", "finished", "killed"),
    [
        pytest.param([event("kill", 10.0), event("died", 10.1, "137")], 10.05, True, id="killed"),
        pytest.param([event("died", 10.1, "137")], 10.05, False, id="nobody-did"),
        pytest.param(
            [event("kill", 5.0), event("died", 5.1, "137"), event("died", 10.1, "137")],
            10.05,
            False,
            id="the-run-before",
        ),
    ],
)
def test_whether_a_person_killed_it(events: list[Any], finished: float, killed: bool) -> None:
    assert was_killed(events, finished) is killed
