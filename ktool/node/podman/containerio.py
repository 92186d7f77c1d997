"""Container logs and exec over Podman's API. node/podman/runtime and probeclient call it."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from ktool.node.base import LogOptions, NodeError, Transport
from ktool.node.podman import facts, runends
from ktool.node.podman.podmanapi import ApiStream, PodmanApi, Refused

_HEADER = struct.Struct(">BxxxL")
"""Docker's multiplexed stream: which output, then how many bytes of it follow."""


def logs(api: PodmanApi, node: str, container: str, options: LogOptions) -> Iterator[bytes]:
    """The log, chunk by chunk. Podman keeps one log for all runs of a container, so a run is cut out by its times: the
    current run begins at its start, the previous one is what comes before. Raises NodeError."""
    try:
        inspected = api.get(f"containers/{container}/json")
        params = _log_params(inspected, options, runends.end_before(inspected, api))
        if params is None:
            return iter(())
        stream = api.stream("GET", f"containers/{container}/logs", **params)
    except Refused as refused:
        raise NodeError(node, "logs", f"no log on {node}: {refused.message}") from None
    return _log_bytes(stream, bool((inspected.get("Config") or {}).get("Tty")))


def _log_params(inspected: dict[str, Any], options: LogOptions, end_before: float) -> dict[str, Any] | None:
    """Query parameters of containers/logs; None where there can be no output. Raises Refused."""
    params: dict[str, Any] = {"stdout": True, "stderr": True, "timestamps": options.timestamps}
    began = _run_began(facts.seconds((inspected.get("State") or {}).get("StartedAt")), end_before)
    restarted = int(inspected.get("RestartCount") or 0) > 0
    if options.previous:
        if not restarted:
            raise Refused(404, "", "the container has not been restarted, so there is no previous run")
        params["until"] = _rfc3339(began)
    since = max(options.since, began if restarted and not options.previous else 0.0)
    if since > 0:
        params["since"] = _rfc3339(since)
    if options.tail >= 0:
        params["tail"] = options.tail
    if options.follow and not options.previous:
        params["follow"] = True
    return None if options.tail == 0 and not options.follow else params


def _run_began(started: float, end_before: float) -> float:
    """The start of a restarted container's last run. Podman notes StartedAt when its runtime has returned, a moment
    after the first lines may have been written. Where the end of the run before is still known, it began after that;
    the last lines of that run may bear a time some milliseconds behind its end."""
    return end_before + min(0.05, (started - end_before) / 3) if 0 < end_before <= started else started - 0.1


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _log_bytes(stream: ApiStream, raw: bool) -> Iterator[bytes]:
    try:
        if raw:
            while data := stream.some():
                yield data
            return
        for _, data in frames(stream):
            yield data
    finally:
        stream.close()


def frames(stream: ApiStream) -> Iterator[tuple[int, bytes]]:
    """(1 or 2, bytes) frames of a multiplexed stream until it ends; a truncated frame is dropped."""
    while len(header := stream.exactly(_HEADER.size)) == _HEADER.size:
        output, size = _HEADER.unpack(header)
        if data := stream.exactly(size):
            yield (output, data)


class PodmanExec:
    """Implements base.ExecStream. Raises NodeError where the command cannot be started."""

    def __init__(
        self, api: PodmanApi, transport: Transport, container: str, argv: Sequence[str], *, stdin: bool, tty: bool
    ) -> None:
        self._api, self._transport, self._node, self._tty = api, transport, transport.node, tty
        body = {
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": not tty,
            "Tty": tty,
            "Cmd": list(argv),
        }
        if tty:
            body["Env"] = ["TERM=xterm"]
        try:
            self._id = str(api.post(f"containers/{container}/exec", body)["Id"])
            start = {"Detach": False, "Tty": tty}
            self._stream = api.stream("POST", f"exec/{self._id}/start", start, upgrade=True)
        except Refused as refused:
            raise NodeError(self._node, "exec", f"cannot run {argv[0]}: {refused.message}") from None

    def send(self, data: bytes) -> None:
        # A command that reads no more is not an error of ours; its exit status tells.
        with contextlib.suppress(OSError):
            self._stream.send(data)

    def close_stdin(self) -> None:
        self._stream.half_close()

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(Refused):  # it has ended, or has not begun: nothing to resize
            self._api.post(f"exec/{self._id}/resize", h=rows, w=columns)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        if not self._tty:
            yield from frames(self._stream)
            return
        while data := self._stream.some():
            yield (1, data)

    def wait(self) -> int:
        """The exit status. Podman records it a moment after the stream has ended."""
        deadline = time.monotonic() + 10.0
        while True:
            try:
                told = self._api.get(f"exec/{self._id}/json")
            except Refused as refused:
                raise NodeError(self._node, "exec", f"the exit status is not known: {refused.message}") from None
            if not told.get("Running"):
                self._reap()
                return int(told.get("ExitCode") or 0)
            if time.monotonic() > deadline:
                raise NodeError(self._node, "exec", "the output has ended, but the command still runs")
            time.sleep(0.02)

    def _reap(self) -> None:
        """End the conmon that Podman leaves behind for five minutes after each exec of its API, and which makes the
        removal of its container three seconds slower (containers/podman issue 15377)."""
        with contextlib.suppress(NodeError):
            self._transport.run(["pkill", "-f", f"[c]onmon .*-u {self._id} "], timeout=5)

    def kill(self) -> None:
        """Kill the command: it would go on without its client."""
        with contextlib.suppress(Refused, NodeError):
            if pid := int(self._api.get(f"exec/{self._id}/json").get("Pid") or 0):
                self._transport.run(["kill", "-KILL", str(pid)], timeout=5)
            self._reap()

    def close(self) -> None:
        self._stream.close()


def run(
    api: PodmanApi, transport: Transport, container: str, argv: Sequence[str], timeout: float, most: int
) -> tuple[int | None, bytes]:
    """Run a command in a container: its exit status and the first bytes of its output. Killed after `timeout` seconds,
    with status None. Raises NodeError."""
    running = PodmanExec(api, transport, container, argv, stdin=False, tty=False)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        running.kill()
        running.close()

    timer = threading.Timer(timeout, give_up)
    timer.daemon = True
    timer.start()
    said = b""
    try:
        for _, data in running.frames():
            said = (said + data)[:most]
        return (None if late.is_set() else running.wait()), said
    finally:
        timer.cancel()
        running.close()
