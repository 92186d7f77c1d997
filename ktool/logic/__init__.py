"""L1, the algorithms: pure functions over plain objects; clock, randomness and I/O are values passed in. kinds/ and
above use it.
"""
