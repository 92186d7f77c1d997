"""Secrets: validation, references from pods, and sealing for git. kinds/, nodeplane/ and the secret commands use it."""
