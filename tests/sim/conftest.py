from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .world import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of 8 cores; containers take a second and a half to start."""
    cluster = Cluster(tmp_path, start_delay=1.5)
    for node in ("n1", "n2", "n3"):
        cluster.add_node(node)
    cluster.settle()
    yield cluster
    cluster.close()
