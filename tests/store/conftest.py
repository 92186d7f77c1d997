from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ktool.store.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ktool.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Store]]:
    """Opens stores on one file; all of them are closed afterwards."""
    stores: list[Store] = []

    def open_(**options: int) -> Store:
        stores.append(Store(path, **options))
        return stores[-1]

    yield open_
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    return opened()
