"""Implementations of registry/client.Client: `http` talks to a server, `local` to a Registry in this process."""
