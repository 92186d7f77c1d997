"""What a user is told about a pod that waits, and about pulls."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.logic.node.nodeaction import EnsureImage, Failure, Outcome
from ktool.logic.node.nodeevents import of_outcome, of_status
from tests.logic.nodemodel import pod

MOUNT = 'MountVolume.SetUp failed for volume "v" : secret "db" not found'


def waiting(reason: str, message: str, *names: str) -> dict[str, Any]:
    entries = [{"name": name, "state": {"waiting": {"reason": reason, "message": message}}} for name in names or ("a",)]
    return {"containerStatuses": entries}


@pytest.mark.parametrize(
    "before, after, told",
    [
        ({}, waiting("CreateContainerConfigError", "m"), [("Failed", "Error: m")]),
        (waiting("CreateContainerConfigError", "m"), waiting("CreateContainerConfigError", "m"), []),
        (
            waiting("CreateContainerConfigError", "m"),
            waiting("CreateContainerConfigError", "n"),
            [("Failed", "Error: n")],
        ),
        ({}, waiting("ContainerCreating", MOUNT, "a", "b"), [("FailedMount", MOUNT)]),
        ({}, waiting("ContainerCreating", ""), []),
        (
            {},
            {"initContainerStatuses": waiting("PodInitializing", MOUNT)["containerStatuses"]},
            [("FailedMount", MOUNT)],
        ),
        (
            waiting("ErrImagePull", "m"),
            waiting("ImagePullBackOff", "m"),
            [("BackOff", "Back-off pulling image a in pod web")],
        ),
    ],
    ids=["config", "said already", "another", "once for all containers", "nothing", "init", "back-off"],
)
def test_what_is_new_about_a_pod_that_waits(before: Any, after: Any, told: list[tuple[str, str]]) -> None:
    events = of_status({**pod("web"), "status": before}, after)
    assert [(event.reason, event.message) for event in events] == told  # type: ignore[union-attr]


def test_a_pull_secret_that_is_not_there_is_named_even_where_the_pull_works() -> None:
    action = EnsureImage("i", "Always", missing=("a", "b"))
    failure = Failure("ErrImagePull", "unauthorized", "EnsureImage", "i")
    for failed in (None, failure):
        first, second = of_outcome(pod("web"), Outcome(action, failed))
        assert first.reason == "FailedToRetrieveImagePullSecret" and "(a, b)" in first.message  # type: ignore[union-attr]
        assert second.reason == ("Failed" if failed else "Pulled")  # type: ignore[union-attr]
