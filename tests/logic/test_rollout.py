"""The arithmetic of a Deployment. Expected values are worked out by hand from the documented rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.logic.workload.rollout import Limits, Sizes, complete, limits, proportional, recreate, rolling_update

LIMITS = [
    # replicas, maxSurge, maxUnavailable -> surge, unavailable
    (10, "25%", "25%", 3, 2),
    (4, "25%", "25%", 1, 1),
    (3, "25%", "25%", 1, 0),
    (2, "25%", "25%", 1, 0),
    (1, "25%", "25%", 1, 0),
    (0, "25%", "25%", 0, 0),
    (10, 0, 1, 0, 1),
    (10, 1, 0, 1, 0),
    (10, "0%", "0%", 0, 1),
    (1, 0, "50%", 0, 1),
    (10, "100%", "100%", 10, 10),
    (7, "10%", "10%", 1, 0),
    (7, "30%", "30%", 3, 2),
    (5, 3, "20%", 3, 1),
    (2, 1, 5, 1, 2),
    (100, "1%", "1%", 1, 1),
    (29, "7%", "7%", 3, 2),
    (3, "34%", "34%", 2, 1),
]


@pytest.mark.parametrize("replicas, surge, unavailable, want_surge, want_unavailable", LIMITS)
def test_limits(replicas: int, surge: int | str, unavailable: int | str, want_surge: int, want_unavailable: int):
    found = limits(replicas, surge, unavailable)
    if replicas == 0 and (want_surge, want_unavailable) == (0, 0):
        assert found == Limits(0, 1)  # nothing to move, and nothing that could block it
    else:
        assert found == Limits(want_surge, want_unavailable)


ROLLING = {
    # name: (replicas, (new wanted, available), [(old wanted, available)...], (surge, unavailable), new, [old...])
    "first pods of a first rollout": (3, (0, 0), [], (1, 0), 3, []),
    "surge lets one in": (3, (0, 0), [(3, 3)], (1, 0), 1, [3]),
    "waits until the new one is available": (3, (1, 0), [(3, 3)], (1, 0), 1, [3]),
    "one available new, one old goes": (3, (1, 1), [(3, 3)], (1, 0), 1, [2]),
    "room again after an old one went": (3, (1, 1), [(2, 2)], (1, 0), 2, [2]),
    "last old one goes": (3, (3, 3), [(1, 1)], (1, 0), 3, [0]),
    "finished": (3, (3, 3), [(0, 0)], (1, 0), 3, [0]),
    "unavailable lets old ones go at once": (10, (0, 0), [(10, 10)], (3, 2), 3, [8]),
    "both knobs, half way": (10, (5, 5), [(8, 8)], (3, 2), 5, [3]),
    "both knobs, new ones not available": (10, (5, 0), [(8, 8)], (3, 2), 5, [8]),
    "no surge: old first": (4, (0, 0), [(4, 4)], (0, 1), 0, [3]),
    "no surge: then new": (4, (0, 0), [(3, 3)], (0, 1), 1, [3]),
    "no surge: wait for the new": (4, (1, 0), [(3, 3)], (0, 1), 1, [3]),
    "no surge: next old": (4, (1, 1), [(3, 3)], (0, 1), 1, [2]),
    "unhealthy old ones go first": (4, (0, 0), [(4, 1)], (1, 1), 1, [3]),
    "all old ones broken": (4, (1, 0), [(4, 0)], (1, 1), 1, [3]),
    "all old ones broken, new one available": (4, (1, 1), [(3, 0)], (1, 1), 2, [2]),
    "two old sets, the older first": (4, (1, 1), [(2, 2), (2, 2)], (1, 1), 1, [0, 2]),
    "two old sets, broken ones of the younger first": (4, (1, 1), [(2, 2), (2, 0)], (1, 0), 1, [2, 1]),
    "scaled down to nothing": (0, (3, 3), [(2, 2)], (0, 1), 0, [0]),
    "scaled down in the middle": (2, (3, 3), [(2, 2)], (1, 0), 2, [0]),
    "scaled up in the middle": (8, (2, 2), [(2, 2)], (2, 0), 8, [2]),
    "everything at once": (5, (0, 0), [(5, 5)], (5, 5), 5, [0]),
    "full surge waits for availability": (5, (5, 0), [(5, 5)], (5, 0), 5, [5]),
    "full surge partly available": (5, (5, 3), [(5, 5)], (5, 0), 5, [2]),
}


@pytest.mark.parametrize("case", ROLLING.values(), ids=ROLLING.keys())
def test_rolling_update(case):
    replicas, new, old, limit, want_new, want_old = case
    names = [f"old{index}" for index in range(len(old))]
    sizes = [Sizes(name, wanted, wanted, available) for name, (wanted, available) in zip(names, old, strict=True)]
    found = rolling_update(replicas, Sizes("new", new[0], new[0], new[1]), sizes, Limits(*limit))
    assert found == {"new": want_new, **dict(zip(names, want_old, strict=True))}


def test_recreate_waits_for_every_old_pod():
    assert recreate(3, Sizes("new", 0), [Sizes("old", 3, 3, 3)]) == {"new": 0, "old": 0}
    assert recreate(3, Sizes("new", 0), [Sizes("old", 0, 1, 0)]) == {"new": 0, "old": 0}
    assert recreate(3, Sizes("new", 0), [Sizes("old", 2, 0, 0)]) == {"new": 0, "old": 0}, "they are about to be made"
    assert recreate(3, Sizes("new", 0), [Sizes("old", 0, 0, 0)]) == {"new": 3, "old": 0}


PROPORTIONAL = {
    "the documentation's example": (15, [("old", 8), ("new", 5)], (3, 2), {"old": 11, "new": 7}),
    "down": (5, [("old", 8), ("new", 5)], (2, 1), {"old": 4, "new": 3}),
    "nothing to do": (10, [("old", 8), ("new", 5)], (3, 2), {"old": 8, "new": 5}),
    "to nothing": (0, [("old", 8), ("new", 5)], (3, 2), {"old": 0, "new": 0}),
    "a single one is simply scaled": (6, [("old", 0), ("new", 3)], (2, 0), {"old": 0, "new": 6}),
    "from nothing": (6, [("old", 0), ("new", 0)], (2, 0), {"old": 0, "new": 6}),
}


@pytest.mark.parametrize("case", PROPORTIONAL.values(), ids=PROPORTIONAL.keys())
def test_proportional(case):
    replicas, sets, limit, wanted = case
    found = proportional(replicas, [Sizes(name, size, size, size) for name, size in sets], Limits(*limit))
    assert found == wanted


@given(
    replicas=st.integers(0, 12),
    start=st.integers(0, 12),
    surge=st.integers(0, 12),
    unavailable=st.integers(0, 12),
    luck=st.lists(st.integers(0, 3), max_size=200),
)
def test_a_rollout_keeps_its_promises_and_ends(
    replicas: int, start: int, surge: int, unavailable: int, luck: list[int]
):
    """At every step, with new pods becoming available in any order: never too many, never too few, and it ends."""
    limit = limits(replicas, surge, unavailable)
    old, new = Sizes("old", start, start, start), Sizes("new", 0)
    fewest = min(start, replicas - limit.unavailable)
    most = max(start, replicas + limit.surge)
    for step in range(400):
        sizes = rolling_update(replicas, new, [old], limit)
        old = Sizes("old", sizes["old"], sizes["old"], min(old.available, sizes["old"]))
        new = Sizes("new", sizes["new"], sizes["new"], min(new.available, sizes["new"]))
        assert old.wanted + new.wanted <= most
        assert old.available + new.available >= fewest
        if complete(replicas, new, [old]):
            assert rolling_update(replicas, new, [old], limit) == {"new": replicas, "old": 0}
            return
        gain = luck[step] if step < len(luck) else 1
        new = Sizes("new", new.wanted, new.wanted, min(new.wanted, new.available + gain))
    raise AssertionError("the rollout did not end")
