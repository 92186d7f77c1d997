"""L1, the algorithms: pure functions over plain objects. The clock, randomness and I/O are values passed in."""
