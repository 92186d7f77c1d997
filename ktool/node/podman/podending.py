"""Pod termination: preStop hook, SIGTERM, grace period, SIGKILL. Sidecars end after all others, one after the other.

node/podman/performer calls it. Source: kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ktool.logic.node.nodeaction import Notes
from ktool.logic.node.probecalls import Call, Exec, Handler, HttpGet, Sleep
from ktool.node.base import NodeError, Transport, Unreachable
from ktool.node.podman import probeclient
from ktool.node.podman.podmanapi import UNCHANGED, PodmanApi, Refused

log = logging.getLogger(__name__)

SLACK = 30.0
LEAST = 2.0
"""Seconds between SIGTERM and SIGKILL that are left however long a hook or other containers took."""

RESTARTING = 10.0
"""Seconds in which Podman has long restarted what it restarts by itself."""


def stop(
    api: PodmanApi,
    transport: Transport,
    first: Sequence[str],
    last: Sequence[str],
    grace: int,
    hooks: Mapping[str, Handler],
) -> Notes:
    """Stop `first` in parallel, then `last` one by one, all within `grace` seconds (plus LEAST for each that had to
    wait). All hooks start at once. Returns the hooks that failed. Raises Refused, NodeError."""
    end = _End(api, transport, grace, hooks)
    every = [*first, *last]
    if not every:
        return ()
    ended = {container: threading.Event() for container in every}
    before = {container: [*first, *last[:index]] for index, container in enumerate(last)}
    if len(every) == 1:
        end.one(every[0], ended, ())
        return tuple(end.notes)
    with ThreadPoolExecutor(len(every)) as pool:
        for done in [pool.submit(end.one, container, ended, before.get(container, ())) for container in every]:
            done.result()
    return tuple(end.notes)


_DRAINED = r"""
end=$(($(date +%s%3N) + $2))
while [ "$(date +%s%3N)" -lt "$end" ]; do
  cat "/proc/$1/net/tcp" "/proc/$1/net/tcp6" 2>/dev/null | awk '
    { n = split($2, own, ":") }
    $4 == "0A" { listens[own[n]] = 1 }
    $4 == "01" || $4 == "03" || $4 == "08" { open[own[n]] = 1 }
    END { for (port in open) if (port in listens) exit 1 }' && exit 0
  sleep 0.05
done
exit 1
"""
"""Wait until nobody is connected to a port that is listened on in a process's network (proc(5)): ESTABLISHED, SYN_RECV,
and CLOSE_WAIT of those that wait for their answer. $1: the process, $2: milliseconds at most; 1 where they are over."""

LOOK = 1.0
"""Seconds that one such look takes at most, and between two of them: sshd allows few commands at a time."""


def drain(api: PodmanApi, transport: Transport, pod: str, seconds: float) -> None:
    """Wait until a pod's connections have ended. Where they cannot be observed, return at once."""
    try:
        infra = api.get(f"pods/{pod}/json").get("InfraContainerID") or ""
        pid = int((api.get(f"containers/{infra}/json").get("State") or {}).get("Pid") or 0) if infra else 0
        end = time.monotonic() + seconds
        while pid and (left := end - time.monotonic()) > 0:
            argv = ["sh", "-c", _DRAINED, "ktool", str(pid), str(int(min(left, LOOK) * 1000))]
            if transport.run(argv, timeout=LOOK + 5).status == 0:
                return
            time.sleep(max(0.0, min(LOOK, end - time.monotonic())))
    except Unreachable:
        raise
    except (Refused, NodeError) as error:
        log.debug("%s: connections of pod %s: %s", transport.node, pod, error)


class _End:
    def __init__(self, api: PodmanApi, transport: Transport, grace: int, hooks: Mapping[str, Handler]) -> None:
        self.api, self.transport, self.hooks, self.grace = api, transport, hooks, grace
        self.end = time.monotonic() + grace
        self.notes: list[tuple[str, str]] = []

    def one(self, container: str, ended: Mapping[str, threading.Event], before: Sequence[str]) -> None:
        try:
            if container in self.hooks and self.grace > 0:
                self._hook(container)
            for other in before:
                ended[other].wait(max(0.0, self.end - time.monotonic()))
            waited = bool(before) or container in self.hooks
            left = max(LEAST, self.end - time.monotonic()) if waited and self.grace > 0 else self.grace
            self._stop(container, int(left))
        finally:
            ended[container].set()

    def _hook(self, container: str) -> None:
        call = Call("preStop", container, self.hooks[container], float(self.grace))
        answer = probeclient.carry_out(self.api, self.transport, call)
        if not answer.ok:
            self.notes.append(("FailedPreStopHook", hook_message(call, answer.message)))

    def _stop(self, container: str, grace: int) -> None:
        """Stop by containers/stop: SIGTERM (or the image's STOPSIGNAL), the grace period, SIGKILL, and no restart after
        it. Exception: a container between two runs counts as stopped for it, and is started all the same a moment
        later."""
        settled = time.monotonic() + RESTARTING
        try:
            while self.api.post(f"containers/{container}/stop", deadline=grace + SLACK, timeout=grace) is UNCHANGED:
                if not self._starts_again(container) or time.monotonic() > settled:
                    return
                time.sleep(0.02)
        except Refused as refused:
            if refused.status != 404 and "is not running" not in refused.message:
                raise

    def _starts_again(self, container: str) -> bool:
        """Whether a restart by Podman's policy is still due: after an end the state is "stopped" before the policy was
        applied and "exited" afterwards."""
        found = self.api.get(f"containers/{container}/json")
        policy = ((found.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
        return policy not in ("", "no", None) and (found.get("State") or {}).get("Status") != "exited"


def hook_message(call: Call, why: str) -> str:
    """The message for a failed hook: its handler and the reason. The Event names the pod."""
    handler = call.handler
    if isinstance(handler, Exec):
        what = f"Exec lifecycle hook ([{' '.join(handler.command)}])"
    elif isinstance(handler, HttpGet):
        what = f"HTTP lifecycle hook ({handler.path})"
    else:
        what = "Sleep lifecycle hook" if isinstance(handler, Sleep) else "lifecycle hook"
    return f"{call.purpose} {what} failed: {why}"
