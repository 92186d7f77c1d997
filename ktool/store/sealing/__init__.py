"""Encryption at rest: sealing of records, the key ring, and key rotation. The other modules of store/ use it."""
