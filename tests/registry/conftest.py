from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktool.registry.registry import Registry
from ktool.store.store import Store
from tests.registry.kinds_for_tests import small_kinds

START = 1_700_000_000.0
"""2023-11-14T22:13:20Z"""


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "ktool.db")
    yield store
    store.close()


@pytest.fixture
def registry(store: Store, clock: Clock) -> Registry:
    uids, suffixes = itertools.count(1), itertools.count(1)
    return Registry(
        store,
        small_kinds(),
        clock=clock,
        new_uid=lambda: f"uid-{next(uids)}",
        suffix=lambda: f"{next(suffixes):05}",
    )
