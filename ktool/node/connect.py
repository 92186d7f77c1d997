"""Connections to nodes: from a Node object to a Runtime or a Transport. app.py and the node commands call it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from ktool.api.marks import CONNECTION, HOST_KEY, IDENTITY
from ktool.api.obj import Obj, annotations_of, name
from ktool.importing import IMPORTING
from ktool.node.base import NodeError, Runtime, Transport


def runtime_for(node: Obj, cluster: str) -> Runtime:
    """The runtime that the Node's annotations describe; not connected yet. Raises NodeError for annotations it does not
    understand. Modules are imported here: a simulated node needs no SSH, and a local one neither."""
    url = annotations_of(node).get(CONNECTION, "")
    if url.startswith("simulated:"):
        from ktool.node.simulated.runtime import from_url

        return from_url(name(node), url)
    transport = transport_for(node)
    with IMPORTING:
        from ktool.node.podman.runtime import PodmanRuntime

    return PodmanRuntime(transport, node=name(node), cluster=cluster)


def transport_for(node: Obj, *, accept_new_host_key: bool = False) -> Transport:
    """The transport alone, for `node add` and its checks. `accept_new_host_key` trusts the key of an unknown host on
    first use; a changed key is never trusted."""
    url = annotations_of(node).get(CONNECTION, "")
    if url.startswith("local:"):
        from ktool.node.reach.localhost import LocalTransport

        return LocalTransport(name(node))
    if not url.startswith("ssh:"):
        message = f"node {name(node)} has no annotation {CONNECTION} with ssh://, local:// or simulated:// in it"
        raise NodeError(name(node), "connect", message)
    with IMPORTING:
        from ktool.node.reach.ssh import Login, SshTransport

    annotations = annotations_of(node)
    host, port, user = _parse(name(node), url)
    login = Login(
        user,
        identity=annotations.get(IDENTITY) or None,
        host_key=annotations.get(HOST_KEY, ""),
        accept_new_host_key=accept_new_host_key,
    )
    return SshTransport(name(node), host, port, login)


@contextmanager
def connected(node: Obj) -> Iterator[Transport]:
    """A connected transport to a node, for a few commands. Raises NodeError."""
    transport = transport_for(node)
    try:
        yield transport
    finally:
        transport.close()


def _parse(node: str, url: str) -> tuple[str, int, str]:
    """Host, port and user of ssh://[USER@]HOST[:PORT]; an IPv6 address stands in brackets (RFC 3986, section 3.2.2)."""
    try:
        parts = urlsplit(url)
        port = parts.port or 22
    except ValueError as error:
        raise NodeError(node, "connect", f"the connection {url!r} of node {node} is not understood: {error}") from None
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.password:
        raise NodeError(node, "connect", f"the connection {url!r} of node {node} must be ssh://[USER@]HOST[:PORT]")
    return parts.hostname, port, unquote(parts.username or "root")
