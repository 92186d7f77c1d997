"""The simulated runtime: nodes in memory, for trying manifests and for tests. node/connect makes it."""
