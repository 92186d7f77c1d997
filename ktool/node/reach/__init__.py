"""Transports: SSH and local, with host key verification, login keys and shell quoting. node/connect makes them."""
