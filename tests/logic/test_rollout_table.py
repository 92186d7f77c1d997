"""The arithmetic of a Deployment against the documented rules, state by state, each expected value worked out by hand.

The rules (kubernetes.io/docs/concepts/workloads/controllers/deployment, "Rolling Update Deployment"):
  most  = replicas + surge,       a percentage of replicas rounded up
  least = replicas - unavailable, a percentage of replicas rounded down; where both come to 0, one may be unavailable
  1. the new ReplicaSet grows by what is missing to `most`, to `replicas` at the utmost;
  2. old pods may go as far as `least` pods stay, every new pod that is not available counted as missing (`may go`);
     those that serve nobody go first, the oldest ReplicaSet before the others;
  3. then available old pods go, as far as `least` available ones stay.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktool.logic.workload.rollout import Limits, Sizes, limits, proportional, rolling_update, saturated

TABLE = [
    # replicas, maxSurge, maxUnavailable, new (wanted, available), old [(wanted, available)...] -> new, [old...]
    #
    # --- a whole rollout of 10 with the defaults: most 10 + ceil(2.5) = 13, least 10 - floor(2.5) = 8
    # room 13 - 10 = 3; may go 13 - 8 - 3 = 2; available 10 - 8 = 2
    (10, "25%", "25%", (0, 0), [(10, 10)], 3, [8]),
    # room 13 - 11 = 2, so 5; may go 13 - 8 - 5 = 0
    (10, "25%", "25%", (3, 0), [(8, 8)], 5, [8]),
    # no room; may go 13 - 8 - 2 = 3; available 3 + 8 - 8 = 3
    (10, "25%", "25%", (5, 3), [(8, 8)], 5, [5]),
    # no room; may go 13 - 8 - 0 = 5; available 13 - 8 = 5
    (10, "25%", "25%", (5, 5), [(8, 8)], 5, [3]),
    # room 13 - 8 = 5, so all 10; may go 13 - 8 - 5 = 0
    (10, "25%", "25%", (5, 5), [(3, 3)], 10, [3]),
    # all are there; may go 13 - 8 - 3 = 2; available 7 + 3 - 8 = 2
    (10, "25%", "25%", (10, 7), [(3, 3)], 10, [1]),
    # the last one: may go 11 - 8 - 0 = 3; available 11 - 8 = 3
    (10, "25%", "25%", (10, 10), [(1, 1)], 10, [0]),
    # --- 4 with the defaults: most 5, least 3
    # room 1; may go 5 - 3 - 1 = 1; available 4 - 3 = 1
    (4, "25%", "25%", (0, 0), [(4, 4)], 1, [3]),
    # room 5 - 4 = 1, so 2; may go 5 - 3 - 2 = 0
    (4, "25%", "25%", (1, 0), [(3, 3)], 2, [3]),
    # no room; may go 5 - 3 - 1 = 1; available 1 + 3 - 3 = 1
    (4, "25%", "25%", (2, 1), [(3, 3)], 2, [2]),
    # --- 3 with the defaults: most 3 + ceil(0.75) = 4, least 3 - floor(0.75) = 3
    # room 1; may go 4 - 3 - 1 = 0
    (3, "25%", "25%", (0, 0), [(3, 3)], 1, [3]),
    # no room; may go 4 - 3 - 0 = 1; available 4 - 3 = 1
    (3, "25%", "25%", (1, 1), [(3, 3)], 1, [2]),
    # --- 1 with the defaults: most 2, least 1: the old one goes when the new one serves
    (1, "25%", "25%", (0, 0), [(1, 1)], 1, [1]),
    (1, "25%", "25%", (1, 0), [(1, 1)], 1, [1]),
    (1, "25%", "25%", (1, 1), [(1, 1)], 1, [0]),
    # --- 1 without surge: most 1, least 0: the old one goes first
    (1, 0, 1, (0, 0), [(1, 1)], 0, [0]),
    (1, 0, 1, (0, 0), [(0, 0)], 1, [0]),
    # --- 2 and halves: most 3, least 1: one comes and one goes at once: may go 3 - 1 - 1 = 1; available 2 - 1 = 1
    (2, "50%", "50%", (0, 0), [(2, 2)], 1, [1]),
    # room 3 - 2 = 1, so 2; may go 3 - 1 - 2 = 0
    (2, "50%", "50%", (1, 0), [(1, 1)], 2, [1]),
    # --- percentages that come to nothing
    # 5 x 0% and 5 x 0%: one may be unavailable; most 5, least 4; may go 5 - 4 - 0 = 1
    (5, "0%", "0%", (0, 0), [(5, 5)], 0, [4]),
    # 5 x 10% is 0.5: surge 1, unavailable 0: may go 6 - 5 - 1 = 0
    (5, "10%", "10%", (0, 0), [(5, 5)], 1, [5]),
    # --- all at once
    # least 0: every old one goes before a new one comes; most 5 leaves no room
    (5, 0, "100%", (0, 0), [(5, 5)], 0, [0]),
    # most 10, least 5: all new ones come; may go 10 - 5 - 5 = 0
    (5, "100%", 0, (0, 0), [(5, 5)], 5, [5]),
    # may go 10 - 5 - 3 = 2; available 2 + 5 - 5 = 2
    (5, "100%", 0, (5, 2), [(5, 5)], 5, [3]),
    # most 10, least 0: may go 10 - 0 - 5 = 5; available 5 - 0 = 5
    (5, "100%", "100%", (0, 0), [(5, 5)], 5, [0]),
    # --- numbers beyond replicas
    # most 7: new ones up to replicas only; may go 4 - 2 - 2 = 0
    (2, 5, 0, (0, 0), [(2, 2)], 2, [2]),
    # no more than all can be unavailable: least 0
    (2, 0, 5, (0, 0), [(2, 2)], 0, [0]),
    # --- rounding in both directions
    # 7 x 30% = 2.1: surge 3, unavailable 2: room 3; may go 10 - 5 - 3 = 2
    (7, "30%", "30%", (0, 0), [(7, 7)], 3, [5]),
    # 3 x 34% = 1.02: surge 2, unavailable 1: room 2; may go 5 - 2 - 2 = 1
    (3, "34%", "34%", (0, 0), [(3, 3)], 2, [2]),
    # 100 x 1%: one of each: may go 101 - 99 - 1 = 1
    (100, "1%", "1%", (0, 0), [(100, 100)], 1, [99]),
    # --- a number and a percentage: 6 with surge 2 and half of them: most 8, least 3
    # room 2; may go 8 - 3 - 2 = 3
    (6, 2, "50%", (0, 0), [(6, 6)], 2, [3]),
    # room 8 - 5 = 3, so 5; may go 8 - 3 - 5 = 0
    (6, 2, "50%", (2, 0), [(3, 3)], 5, [3]),
    # no room; may go 8 - 3 - 1 = 4; available 4 + 3 - 3 = 4, and there are 3
    (6, 2, "50%", (5, 4), [(3, 3)], 5, [0]),
    # room 3, and 1 is missing
    (6, 2, "50%", (5, 5), [(0, 0)], 6, [0]),
    # --- old pods that serve nobody
    # most 5, least 3: may go 5 - 3 - 1 = 1 of 2 broken ones; available 2, which is less than 3 already
    (4, 1, 1, (1, 0), [(4, 2)], 1, [3]),
    # may go 5 - 3 - 0 = 2: both broken ones; available 1 + 2 - 3 = 0 more
    (4, 1, 1, (1, 1), [(4, 2)], 1, [2]),
    # room 5 - 3 = 2, so 3; may go 5 - 3 - 2 = 0
    (4, 1, 1, (1, 1), [(2, 2)], 3, [2]),
    # surge 1, unavailable 0, nothing serves: room 1; may go 5 - 4 - 1 = 0
    (4, "25%", 0, (0, 0), [(4, 0)], 1, [4]),
    # the first new one serves: may go 5 - 4 - 0 = 1, a broken one
    (4, "25%", 0, (1, 1), [(4, 0)], 1, [3]),
    # --- several old revisions
    # most 13, least 8: may go 13 - 8 - 3 = 2, of the oldest
    (10, 3, 2, (0, 0), [(4, 4), (6, 6)], 3, [2, 6]),
    # room 13 - 11 = 2, so 5; may go 13 - 8 - 2 = 3; available 11 - 8 = 3: two of the oldest, one of the next
    (10, 3, 2, (3, 3), [(2, 2), (6, 6)], 5, [0, 5]),
    # a broken rollout is replaced by another: most 4, least 3: no room; may go 4 - 3 - 0 = 1, the broken one
    (3, 1, 0, (0, 0), [(3, 3), (1, 0)], 0, [3, 0]),
    # and then there is room for the new one
    (3, 1, 0, (0, 0), [(3, 3), (0, 0)], 1, [3, 0]),
    # --- the way back: what was old is new again
    # no room; may go 4 - 3 - 0 = 1, the broken one of two
    (3, 1, 0, (2, 2), [(2, 0)], 2, [1]),
    # room 4 - 3 = 1, so 3; may go 4 - 3 - 1 = 0
    (3, 1, 0, (2, 2), [(1, 0)], 3, [1]),
    # may go 4 - 3 - 0 = 1
    (3, 1, 0, (3, 3), [(1, 0)], 3, [0]),
    # --- more new pods than are wanted
    # down to 2; nothing old is left
    (2, 1, 0, (4, 4), [(0, 0)], 2, [0]),
    # down to 2, of which 1 serves: may go 3 - 2 - 1 = 0
    (2, 1, 0, (3, 1), [(1, 1)], 2, [1]),
    # nothing is wanted
    (0, "25%", "25%", (2, 2), [(3, 3)], 0, [0]),
    # --- over: nothing changes any more
    (10, "25%", "25%", (10, 10), [(0, 0)], 10, [0]),
    (10, "25%", "25%", (10, 4), [(0, 0)], 10, [0]),
]


def _id(row: tuple) -> str:
    replicas, surge, unavailable, new, old, *_ = row
    return f"{replicas} {surge} {unavailable} new {new} old {old}"


@pytest.mark.parametrize("row", TABLE, ids=_id)
def test_the_next_sizes(row: tuple) -> None:
    replicas, surge, unavailable, new, old, want_new, want_old = row
    sizes = [Sizes(f"old{n}", wanted, wanted, available) for n, (wanted, available) in enumerate(old)]
    found = rolling_update(replicas, Sizes("new", new[0], new[0], new[1]), sizes, limits(replicas, surge, unavailable))
    assert found == {"new": want_new, **{f"old{n}": wanted for n, wanted in enumerate(want_old)}}


def test_a_pod_that_has_still_to_be_deleted_takes_its_room() -> None:
    """Kubernetes counts what a ReplicaSet wants, and is above the surge until its controller has deleted the pod."""
    old = Sizes("old", wanted=3, existing=4, available=4)
    assert rolling_update(3, Sizes("new", 0), [old], Limits(1, 0)) == {"new": 0, "old": 3}
    assert rolling_update(3, Sizes("new", 0), [Sizes("old", 3, 3, 3, ending=1)], Limits(1, 0)) == {"new": 1, "old": 3}


# --- scaled in the middle ("Proportional scaling") ---------------------------------------------------------------
#
# goal = replicas + surge (0 where no replicas are wanted). Each ReplicaSet with pods goes to round(size x goal / most),
# `most` being what its Deployment could have had when it was sized last, as far as there is something left to give;
# what is left over is the largest one's.

SCALED = {
    # name: (replicas, surge, [(size, most)...] with the newest last, sizes after that)
    # goal 18, 5 more: 8 x 18 / 13 = 11.1 and 5 x 18 / 13 = 6.9
    "the documentation's example": (15, 3, [(8, 13), (5, 13)], [11, 7]),
    # goal 23, 10 more: 14.2 and 8.8
    "twice as many": (20, 3, [(8, 13), (5, 13)], [14, 9]),
    # goal 7, 6 fewer: 4.3 and 2.7
    "fewer": (5, 2, [(8, 13), (5, 13)], [4, 3]),
    # goal 14, 3 more: 8 x 14 / 13 = 8.6 gives 1; 3 x 14 / 13 = 3.2 gives 0; 2 are left over
    "not all of the surge was used": (11, 3, [(8, 13), (3, 13)], [11, 3]),
    # goal 7, 1 more: both 3 x 7 / 6 = 3.5, and the newer comes first
    "more for equal ones": (6, 1, [(3, 6), (3, 6)], [3, 4]),
    # goal 5, 1 fewer: both 3 x 5 / 6 = 2.5, which rounds to 3: what is left over is taken from the older
    "fewer for equal ones": (4, 1, [(3, 6), (3, 6)], [2, 3]),
    # goal 18, 6 more: 9, 6 and 3
    "three revisions": (16, 2, [(6, 12), (4, 12), (2, 12)], [9, 6, 3]),
    # as the first, beside one that has none
    "one without pods gets none": (15, 3, [(0, 13), (8, 13), (5, 13)], [0, 11, 7]),
    "down to nothing": (0, 3, [(8, 13), (5, 13)], [0, 0]),
    "a single one is simply scaled": (6, 2, [(0, 5), (3, 5)], [0, 6]),
    "none has pods: the newest": (6, 2, [(0, 5), (0, 5)], [0, 6]),
    # without the note the present total stands for it: goal 18, 8 x 18 / 13 and 5 x 18 / 13
    "nothing noted": (15, 3, [(8, 0), (5, 0)], [11, 7]),
}


@pytest.mark.parametrize("case", SCALED.values(), ids=SCALED.keys())
def test_scaled_in_the_middle(case: tuple) -> None:
    replicas, surge, sets, wanted = case
    sizes = [Sizes(f"rs{n}", size, size, size, most=most) for n, (size, most) in enumerate(sets)]
    assert list(proportional(replicas, sizes, Limits(surge, 0)).values()) == wanted


@given(
    replicas=st.integers(0, 30),
    surge=st.integers(0, 10),
    present=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    unused=st.none() | st.integers(0, 15),
)
def test_scaling_gives_exactly_what_there_is_to_give(
    replicas: int, surge: int, present: list[int], unused: int | None
) -> None:
    most = 0 if unused is None else sum(present) + unused
    sizes = [Sizes(f"rs{n}", size, size, size, most=most) for n, size in enumerate(present)]
    found = proportional(replicas, sizes, Limits(surge, 0))
    active = [one for one in sizes if one.wanted]
    goal = replicas if len(active) <= 1 else replicas + surge if replicas else 0
    assert sum(found.values()) == goal
    assert min(found.values()) >= 0
    assert len(active) <= 1 or all(found[one.name] == 0 for one in sizes if not one.wanted)


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        (Sizes("new", 5, 5, 5, sized_for=5), True),
        (Sizes("new", 5, 5, 4, sized_for=5), False),
        (Sizes("new", 5, 5, 5, sized_for=8), False),
        (Sizes("new", 4, 4, 4, sized_for=5), False),
    ],
    ids=["all available", "one is not", "sized for another number", "one is missing"],
)
def test_a_new_one_that_has_all_needs_no_old_ones(new: Sizes, wanted: bool) -> None:
    assert saturated(5, new) is wanted
