"""Validation that a schema cannot express: what must hold between the fields of pods. The kinds call it."""
