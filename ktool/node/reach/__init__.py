"""Transports: SSH and local, with host key verification, login keys and shell quoting."""
