"""The one lock under which large libraries are imported."""

import threading

IMPORTING = threading.RLock()
"""Held by whoever imports one of the large libraries. They bring each other along (paramiko an invoke, that one a yaml;
podman a rich), and where two threads import modules that need each other, Python hands out one that is half made."""
