"""Implementations of registry/client.Client: `http` for a server, `local` for a Registry in this process. app.py makes
them.
"""
