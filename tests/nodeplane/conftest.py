from __future__ import annotations

from tests.registry.conftest import clock, store

__all__ = ["clock", "store"]
