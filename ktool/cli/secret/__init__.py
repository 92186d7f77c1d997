"""Verbs of `secret`: create, change, copy, rotate, seal, and the key at rest."""
