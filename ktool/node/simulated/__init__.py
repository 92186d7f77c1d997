"""The simulated runtime: nodes that exist in memory, for trying manifests and for tests."""
