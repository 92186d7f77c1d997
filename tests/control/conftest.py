"""The control plane's tests work on the small registry of tests/registry."""

from tests.registry.conftest import clock, registry, store

__all__ = ["clock", "registry", "store"]
