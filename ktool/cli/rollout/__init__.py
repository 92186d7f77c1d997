"""Verbs of `rollout`: status, history, undo, pause, resume, restart."""
