"""Verbs of the command line, one module each; `cli/table` lists them."""
