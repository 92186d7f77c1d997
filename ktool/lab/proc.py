"""Processes of a lab: identified by (pid, start time, boot id), so that a reused pid is never taken for one of them
(proc(5)).

lab/machine uses it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path

from .layout import LabError


def running_pid(record: Path) -> int:
    """The pid written in `record` if that very process still runs, else 0."""
    try:
        pid, start, boot = record.read_text().split()
    except (FileNotFoundError, ValueError):
        return 0
    if boot != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
        return 0
    return int(pid) if _start_time(int(pid)) == start else 0


def end(record: Path, timeout: float = 20.0) -> None:
    """Kill the recorded process, wait until it is gone, and remove the record. Idempotent."""
    pid = running_pid(record)
    if pid:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            pid = 0
        else:
            try:
                if running_pid(record):  # the handle is of our process and not of a successor with its number
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    if not select.select([handle], [], [], timeout)[0]:
                        raise LabError(f"Process {pid} does not end; it may hang in the kernel. Try again later.")
            finally:
                os.close(handle)
    record.unlink(missing_ok=True)


def wait_until_recorded(record: Path, parent: Path, timeout: float = 10.0) -> int:
    """Wait until the child of a starting process has written its record, as the parent did before.

    Returns its pid, or 0 on timeout or where its parent has ended.
    """
    deadline = time.monotonic() + timeout
    while not (pid := running_pid(record)) and time.monotonic() < deadline:
        if parent.exists() and not running_pid(parent):
            return 0
        time.sleep(0.005)
    return pid


def _start_time(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
