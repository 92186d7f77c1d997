"""Secrets: validation, references from pods, and sealing for git."""
