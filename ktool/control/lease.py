"""Leader election: a Lease (coordination.k8s.io/v1) in the store, held by at most one control plane at a time.

`app` takes it. `spec.leaseTransitions` is the fencing token: it grows with each new holder, and every node refuses a
smaller one than it has seen.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ktool.api.errors import ApiError, is_already_exists, is_conflict, is_not_found
from ktool.api.obj import Obj, get, micro_timestamp
from ktool.api.ref import LOCK
from ktool.registry.registry import Registry
from ktool.registry.request import component
from ktool.store.store import StoreError

LIFE = 10.0
"""Seconds a silent holder keeps the Lease: the longest time a killed control plane on another machine blocks."""


@dataclass(frozen=True)
class Holder:
    """Who holds the Lease, as its identity says: `host pid start-time what`."""

    host: str
    pid: int
    started: str
    what: str

    @classmethod
    def me(cls, what: str) -> Holder:
        return cls(socket.gethostname(), os.getpid(), _start_time(os.getpid()), what)

    @classmethod
    def parse(cls, identity: str) -> Holder:
        host, pid, started, what = [*identity.split(" ", 3), "", "", "", ""][:4]
        return cls(host, int(pid) if pid.isdigit() else 0, started, what)

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started} {self.what}"

    @property
    def described(self) -> str:
        return f"`{self.what}` (pid {self.pid} on {self.host})"

    def surely_gone(self) -> bool:
        """True only where this machine can tell: the process was here and is not any more."""
        boot, namespace, _ = [*self.started.split("-"), "", "", ""][:3]
        my_boot, my_namespace, _ = _start_time(os.getpid()).split("-")
        if self.host != socket.gethostname():
            return False
        if boot != my_boot:
            return True
        return namespace == my_namespace and _start_time(self.pid) != self.started


def _start_time(pid: int) -> str:
    """The boot, the PID namespace and field 22 of /proc/PID/stat (proc(5)): a pid that is used again, here or after
    a reboot or in a container, does not look like the old one. "" where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            fields = stat.read().rpartition(b")")[2].split()
            namespace = os.stat("/proc/self/ns/pid").st_ino
            return "" if fields[0] == b"Z" else f"{boot.read(8)}-{namespace}-{fields[19].decode()}"
    except OSError:
        return ""


class Locked(Exception):
    """Somebody else holds the Lease and did not let go in time: one sentence that says who."""


class Leadership:
    """One holder's hold on the Lease: acquire, keep, release. `lost` is set when it could not be kept."""

    def __init__(
        self, registry: Registry, what: str, *, clock: Callable[[], float] = time.time, life: float = LIFE
    ) -> None:
        self._registry, self._clock, self._life = registry.as_(component("leader-election")), clock, life
        self._me = Holder.me(what)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost = threading.Event()
        self.token = 0
        self._on_lost: Callable[[], None] = lambda: None

    def acquire(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for the Lease and return the fencing token. Raises Locked.

        Another holder's clock is not trusted: it is dead when its Lease did not change for a whole life of it by
        this process's own clock, or when its process was here and is gone."""
        end = time.monotonic() + timeout
        seen: tuple[str, float] = ("", 0.0)
        while True:
            lease = self._read()
            renewed = get(lease, "spec", "renewTime", default="")
            if renewed != seen[0]:
                seen = (renewed, time.monotonic())
            if self._free(lease, time.monotonic() - seen[1]) and self._take(lease):
                return self.token
            if time.monotonic() >= end:
                holder = Holder.parse(get(lease, "spec", "holderIdentity", default=""))
                raise Locked(
                    f"{holder.described} is acting on this cluster; waited {timeout:g} s"
                    " (wait longer with --lock-timeout, look with `ktool lock`)"
                )
            time.sleep(min(0.1, max(0.0, end - time.monotonic())))

    def keep(self, on_lost: Callable[[], None] = lambda: None) -> None:
        """Renew the Lease from a thread of its own until `release`; `on_lost` is called there if it was taken."""
        self._on_lost = on_lost
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
        lease = self._read()
        if lease is not None and get(lease, "spec", "holderIdentity") == str(self._me):
            spec = {**lease["spec"], "holderIdentity": ""}
            try:
                self._registry.update({**lease, "spec": spec})
            except ApiError as error:
                if not is_conflict(error):
                    raise

    def _free(self, lease: Obj | None, unchanged_for: float) -> bool:
        identity = get(lease, "spec", "holderIdentity", default="")
        if not identity or identity == str(self._me):
            return True
        life = get(lease, "spec", "leaseDurationSeconds", default=self._life)
        return Holder.parse(identity).surely_gone() or unchanged_for > life

    def _take(self, lease: Obj | None) -> bool:
        now = micro_timestamp(self._clock())
        # There were at most as many holders as there are revisions: where somebody has deleted the Lease, the token
        # grows all the same, and nodes do not refuse it.
        holders = self._registry.store.head() if lease is None else get(lease, "spec", "leaseTransitions", default=0)
        self.token = holders + 1
        spec = {
            "holderIdentity": str(self._me),
            "leaseDurationSeconds": int(self._life),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": self.token,
        }
        metadata = {"name": LOCK.name, "namespace": LOCK.namespace}
        try:
            if lease is None:
                new = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
                self._registry.create(new)
            else:
                self._registry.update({**lease, "spec": spec})
        except ApiError as error:
            if is_conflict(error) or is_already_exists(error):
                return False
            raise
        return True

    def _read(self) -> Obj | None:
        try:
            return self._registry.get(LOCK)
        except ApiError as error:
            if is_not_found(error):
                return None
            raise

    def _renew(self) -> None:
        kept = time.monotonic()
        while not self._stop.wait(self._life / 3):
            try:
                lease = self._read()
                if lease is None or get(lease, "spec", "holderIdentity") != str(self._me):
                    break
                renewed = {**lease["spec"], "renewTime": micro_timestamp(self._clock())}
                self._registry.update({**lease, "spec": renewed})
                kept = time.monotonic()
            except (ApiError, StoreError):
                # A write that met another one, or a full disk: there is time for another try, but not so much that
                # somebody else may already hold the Lease.
                if time.monotonic() - kept >= self._life * 2 / 3:
                    break
        else:
            return
        self.lost.set()
        self._on_lost()
