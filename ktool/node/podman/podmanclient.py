"""podman-py's HTTP client over connections that a Transport opens. node/podman/podmanapi uses it."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from typing import Any

import requests
import urllib3
from podman.api.client import APIClient
from podman.errors import APIError
from requests.adapters import HTTPAdapter

from ktool.node.podman.unanswered import unanswered
from ktool.node.reach.stream import ChannelStream, Stream

POOL = 16
"""Idle connections kept: one per lane of pods, and a few for the loop itself. A forwarded one costs sshd nothing."""


class PodmanClient:
    """Calls to one node's Podman. Thread-safe; connections are kept alive and shared."""

    def __init__(self, node: str, open_stream: Callable[[float], Stream], version: str) -> None:
        self._node = node
        self._client = APIClient(base_url="http://podman", version=version)
        self._client.trust_env = False  # no proxies, no .netrc: this never leaves the machine by itself
        self._client.mount("http://", _Adapter(open_stream))

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        data: bytes | None,
        deadline: float,
    ) -> tuple[int, bytes]:
        """Status and body of the response. Raises NodeError (Unreachable) where there is none."""
        send = {"GET": self._client.get, "DELETE": self._client.delete, "POST": self._client.post}[method]
        extra: dict[str, Any] = {"data": data} if method == "POST" else {}
        for attempt in (1, 2):
            try:
                response = send(path, params=query, headers=headers, timeout=deadline, **extra)
                return response.status_code, response.content
            except (APIError, requests.RequestException) as error:
                # podman.service ends itself after five idle seconds under socket activation, and a kept connection
                # may die under a request. Everything asked for here may be asked for twice.
                if attempt == 2 or not _dropped(error):
                    raise unanswered(self._node, path, _cause(error)) from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        self._client.close()


class _Adapter(HTTPAdapter):
    """A `requests` adapter whose connections a Transport opens."""

    def __init__(self, open_stream: Any) -> None:
        class Connection(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                limit = self.timeout if isinstance(self.timeout, int | float) else 10.0
                self.sock = open_stream(min(limit, 10.0))

            @property
            def is_connected(self) -> bool:
                if isinstance(self.sock, ChannelStream):
                    return not self.sock.dropped
                return bool(super().is_connected)

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool_class = Pool
        super().__init__(pool_connections=1, pool_maxsize=POOL)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = urllib3.PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": self._pool_class}


def _cause(error: BaseException) -> BaseException:
    """The error that podman-py wraps, with requests' timeout as Python's own."""
    cause: BaseException = error.__cause__ or error.__context__ or error if isinstance(error, APIError) else error
    return TimeoutError(*cause.args) if isinstance(cause, requests.Timeout) else cause


def _dropped(error: BaseException) -> bool:
    """Whether a kept-alive connection was found closed before any response came."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, http.client.RemoteDisconnected | BrokenPipeError | ConnectionResetError):
            return True
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        seen = inner or seen.__cause__
    return False
