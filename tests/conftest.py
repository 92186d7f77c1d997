"""What all tests share: which of them this machine can run, and the one lab of the real-Podman tests."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A machine that is busy is no reason to fail: how long one example takes is not what these tests are about.
settings.register_profile("ktool", deadline=None)
settings.load_profile("ktool")

# A job that a shell started in the background ignores SIGINT, and so would every command that these tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _why_no_podman() -> str:
    """Why real-Podman tests cannot run here; "" where they can."""
    if sys.platform != "linux":
        return "real nodes need Linux"
    if os.geteuid() != 0:
        return "real nodes need root"
    from ktool.lab import missing_packages
    from tests import programs

    missing = sorted({*missing_packages(), *programs.missing(programs.TESTS)})
    return f"missing packages: {' '.join(missing)}" if missing else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("podman")]
    why = _why_no_podman() if marked else ""
    if not why:
        return
    if os.environ.get("CI"):
        raise pytest.UsageError(f"under CI the real-Podman tests must run: {why}")
    for item in marked:
        item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def lab() -> Iterator[object]:
    """Three real nodes and a registry, shared by every test that needs some; each test brings its own cluster and
    leaves no pod behind."""
    import ktool.lab

    root = Path(tempfile.mkdtemp(prefix="ktool-tests-", dir="/var/tmp"))
    name = f"t{os.getpid()}"
    try:
        yield ktool.lab.up(name, 3, root=root, say=lambda line: None)
    finally:
        ktool.lab.down(name, root=root, say=lambda line: None)
        root.rmdir()
