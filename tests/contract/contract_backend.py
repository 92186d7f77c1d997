"""A backend without nodes: logs come through a pipe that the test writes to, exec runs a real process."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
from collections.abc import Iterator, Sequence

from ktool.api.obj import Obj, name
from ktool.node.base import LogOptions, NodeError, Unreachable


class PipeLog:
    """The read end of a pipe as an iterator; `close` wakes the thread that reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._wake_r, self._wake_w = os.pipe()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._fd, selectors.EVENT_READ)
            selector.register(self._wake_r, selectors.EVENT_READ)
            ready = [key.fd for key, _ in selector.select()]
        if self._wake_r in ready or not (data := os.read(self._fd, 65536)):
            raise StopIteration
        return data

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            os.write(self._wake_w, b"x")


class Process:
    """A process on this machine as an ExecStream."""

    def __init__(self, argv: Sequence[str], stdin: bool) -> None:
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.sizes: list[tuple[int, int]] = []
        self.closed = threading.Event()

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        self.sizes.append((rows, columns))

    def frames(self) -> Iterator[tuple[int, bytes]]:
        channels = {self._process.stdout: 1, self._process.stderr: 2}
        with selectors.DefaultSelector() as selector:
            for pipe in channels:
                selector.register(pipe, selectors.EVENT_READ)
            while channels:
                for key, _ in selector.select():
                    data = os.read(key.fd, 65536)
                    if data:
                        yield channels[key.fileobj], data
                    else:
                        selector.unregister(key.fileobj)
                        del channels[key.fileobj]

    def wait(self) -> int:
        return self._process.wait(10)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self.closed.set()


class Backend:
    """Implements ktool.nodeplane.podstreams.Backend. A pod named `unreachable` is on a node that is not there, one
    named `refused` on one that refuses."""

    def __init__(self) -> None:
        self.lines = [f"2026-01-0{day}T00:00:00Z line {day}\n".encode() for day in range(1, 6)]
        self.asked: list[tuple[str, str, LogOptions]] = []
        self.pipes: list[tuple[int, PipeLog]] = []
        self.processes: list[Process] = []
        self.opened = threading.Event()

    def logs(self, pod: Obj, container: str, options: LogOptions) -> Iterator[bytes]:
        self._refuse(pod)
        self.asked.append((name(pod), container, options))
        if not options.follow:
            return iter(self.lines if options.tail < 0 else self.lines[len(self.lines) - options.tail :])
        reading, writing = os.pipe()
        log = PipeLog(reading)
        self.pipes.append((writing, log))
        self.opened.set()
        return log

    def exec(self, pod: Obj, container: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> Process:
        self._refuse(pod)
        process = Process(argv, stdin)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for writing, _ in self.pipes:
            os.close(writing)
        for process in self.processes:
            process.close()

    @staticmethod
    def _refuse(pod: Obj) -> None:
        if name(pod) == "unreachable":
            raise Unreachable("node1", "connect", "no route to host")
        if name(pod) == "refused":
            raise NodeError("node1", "logs", "Podman says the disk is full")
