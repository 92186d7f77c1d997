"""PodmanRuntime: the runtime of a node with Podman, reached over a Transport. node/connect makes it; nodeplane/ uses
it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ktool.logic.node.nodeaction import NodeAction, NodeFacts, NodeInfo, Outcome
from ktool.logic.node.probecalls import Answer, Call
from ktool.node import fence
from ktool.node.base import ExecStream, LogOptions, NodeError, Transport
from ktool.node.network import nameservers, nftables, podnetwork
from ktool.node.podman import containerio, facts, performer, probeclient, runends
from ktool.node.podman.podmanapi import ApiStream, PodmanApi, Refused

SETTLED_FOR = 14.5
"""Cache time in seconds of routes, volumes and the network, unless this process changes them. Less than the resync of
15 s, so that each resync reads them and few observations in between do."""

_ENDS = ("died", "oom", "restart")
"""Events after which a container is to be asked how it ended."""


class PodmanRuntime:
    """Implements base.Runtime. Its life is that of its transport's connection."""

    concurrency = 8

    def __init__(self, transport: Transport, *, node: str, cluster: str) -> None:
        self.node, self.cluster = node, cluster
        self._transport = transport
        self._api = PodmanApi(transport)
        self._lock = threading.Lock()
        self._settled: tuple[float, facts.Settled, facts.PodNetwork] | None = None
        self._changes = 0
        self._seen: dict[str, tuple[tuple[Any, ...] | None, dict[str, Any] | None]] = {}
        self._images: dict[tuple[str, str], tuple[str, ...]] = {}
        self._ended: set[str] = set()
        self._events: ApiStream | None = None
        self._listener: Callable[[], None] | None = None
        self._closed = self._lists_infra = False
        self._hands = performer.Hands(self._api, transport, cluster, self._read_settled, self._unsettle)

    def info(self) -> NodeInfo:
        done = self._transport.run(facts.INFO, timeout=15)
        try:
            return facts.info(done.stdout.decode("utf-8", "replace"))
        except ValueError as error:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise NodeError(self.node, "info", f"{error}{': ' + said if said else ''}") from None

    def claim(self, cluster: str, token: int) -> None:
        threading.Thread(target=self._api.prepare, name=f"import-{self.node}").start()  # while the node answers
        fence.claim(self._transport, cluster, token)

    def release(self) -> None:
        """Undo what made the machine a node of this cluster: network, rules, routes, owner. Its pods must be gone.
        Raises NodeError where something is in the way."""
        try:
            nftables.remove(self._transport, nftables.RULES, nftables.POLICIES)
            nameservers.remove(self._transport)
            podnetwork.remove(self._api, self._transport, self.cluster, self._read_settled())
        except Refused as refused:
            raise NodeError(self.node, "release", f"Podman on {self.node}: {refused.message}") from None
        finally:
            self._unsettle()
        fence.release(self._transport, self.cluster)

    def perform(self, action: NodeAction) -> Outcome:
        return performer.perform(self._hands, action)

    def call(self, call: Call) -> Answer:
        return probeclient.carry_out(self._api, self._transport, call)

    # --- seeing ------------------------------------------------------------------------------------------------------

    def observe(self) -> NodeFacts:
        """All facts of the node; one call where no container ended since the last time."""
        heard = self._events is not None
        if self._listener is not None and not heard:
            self.listen(self._listener)
        ended, known = self._take_ended(), frozenset(self._hands.made)
        try:
            filters = facts.label_filter(self.cluster)
            containers = self._api.get("containers/json", all=True, filters=filters)
            sandboxes = self._sandboxes(containers, filters)
            details = self._details(containers, ended, heard)
            digests = self._digests(containers)
            settled, net = self._read_settled_and_network()
        except Refused as refused:
            self._give_back_ended(ended)
            raise NodeError(self.node, "observe", f"Podman on {self.node}: {refused.message}") from None
        except BaseException:
            self._give_back_ended(ended)
            raise
        there = {pod.id for pod in sandboxes} | {str(entry["Id"]) for entry in containers}
        self._hands.saw(there, gone=known - there)
        return NodeFacts(
            pods=facts.pods(sandboxes, containers, details, digests),
            boot_id=settled.boot_id,
            volumes=settled.volumes,
            network=net.subnet,
            network_trouble=net.trouble,
            links=settled.links,
            key=settled.key,
            met=settled.met,
            rules=settled.rules,
            policies=settled.policies,
            zone=settled.zone,
        )

    def _sandboxes(self, containers: list[dict[str, Any]], filters: str) -> list[facts.Sandbox]:
        """The pods of this cluster, from their infra containers where this Podman lists them: the same facts as
        pods/json at half the cost for the node."""
        self._lists_infra = self._lists_infra or any(entry.get("IsInfra") for entry in containers)
        if self._lists_infra:
            return facts.sandboxes_of_infra(containers)
        return facts.sandboxes(self._api.get("pods/json", filters=filters))

    def _take_ended(self) -> set[str]:
        with self._lock:
            ended, self._ended = self._ended, set()
            return ended

    def _give_back_ended(self, ended: set[str]) -> None:
        with self._lock:
            self._ended |= ended

    def _details(self, containers: list[dict[str, Any]], ended: set[str], heard: bool) -> dict[str, dict[str, Any]]:
        """Inspects by container id, cached where nothing can have happened. Without Podman's events since the last time
        (`heard` False) all are read again: the list has whole seconds, in which a container may end twice."""
        seen: dict[str, tuple[tuple[Any, ...] | None, dict[str, Any] | None]] = {}
        for entry in containers:
            own = str(entry["Id"])
            if entry.get("IsInfra"):
                continue
            key, (before, details) = facts.container_key(entry), self._seen.get(own, (None, None))
            if key != before or own in ended or not heard:
                quiet = heard and own in self._hands.made and own not in ended
                details = self._inspect(own) if facts.needs_inspect(entry, before, quiet) else None
            # One that was restarted between the list and the inspect may look in the next list as it did in this one.
            moved = details is not None and facts.state(str(details["State"]["Status"])) != key[0]
            seen[own] = (None if moved else key, details)
        self._seen = seen
        return {own: details for own, (_, details) in seen.items() if details is not None}

    def _inspect(self, container: str) -> dict[str, Any] | None:
        try:
            details = runends.completed(self._api.get(f"containers/{container}/json"), self._api, self._transport)
        except Refused as refused:
            if refused.status == 404:  # gone between the list and now; the next list will not have it
                return None
            raise
        # Older Podmans give the values of secret variables too; they are not kept.
        return {key: details[key] for key in ("State", "RestartCount", "Before") if key in details}

    def _digests(self, containers: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
        """RepoDigests of the images in use, by image id; looked up once for each name an image is used under."""
        wanted = {
            (str(entry.get("ImageID", "")), str(entry.get("Image", "")))
            for entry in containers
            if not entry.get("IsInfra")
        }
        self._images = {
            pair: self._images[pair] if pair in self._images else self._repo_digests(pair[0]) for pair in wanted
        }
        found: dict[str, tuple[str, ...]] = {}
        for (own, _), digests in self._images.items():
            found[own] = (*found.get(own, ()), *digests)
        return found

    def _repo_digests(self, image: str) -> tuple[str, ...]:
        try:
            return tuple(self._api.get(f"images/{image}/json").get("RepoDigests") or ()) if image else ()
        except Refused as refused:
            if refused.status == 404:  # somebody removed it under the container
                return ()
            raise

    def _read_settled(self) -> facts.Settled:
        return self._read_settled_and_network()[0]

    def _read_settled_and_network(self) -> tuple[facts.Settled, facts.PodNetwork]:
        with self._lock:
            cached, changes = self._settled, self._changes
        if cached is not None and time.monotonic() - cached[0] < SETTLED_FOR:
            return cached[1], cached[2]
        done = self._transport.run(facts.SETTLED, timeout=15)
        settled = facts.Settled(done.stdout.decode("utf-8", "replace"))
        net = facts.pod_network(podnetwork.find(self._api), settled)
        with self._lock:
            if changes == self._changes:  # nobody wrote while we read
                self._settled = (time.monotonic(), settled, net)
        return settled, net

    def _unsettle(self) -> None:
        with self._lock:
            self._changes += 1
            self._settled = None

    def listen(self, changed: Callable[[], None]) -> None:
        """Implements base.Runtime. When the event stream ends (Podman's service was restarted), `changed` is called
        once more, and the next observation subscribes again."""
        self._listener = changed
        stream = self._api.stream("GET", "events", stream=True, filters=facts.events_filter(self.cluster))
        self._events = stream
        thread = threading.Thread(target=self._follow, args=(stream, changed), name=f"events-{self.node}", daemon=True)
        thread.start()

    def _follow(self, stream: ApiStream, changed: Callable[[], None]) -> None:
        while line := stream.line():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("status") in _ENDS or event.get("Action") in _ENDS:
                with self._lock:
                    self._ended.add(str((event.get("Actor") or {}).get("ID", "")))
            changed()
        self._events = None
        stream.close()
        if not self._closed:
            changed()

    # --- reaching into containers ------------------------------------------------------------------------------------

    def logs(self, container_id: str, options: LogOptions) -> Iterator[bytes]:
        return containerio.logs(self._api, self.node, container_id, options)

    def exec(self, container_id: str, argv: Sequence[str], *, stdin: bool, tty: bool) -> ExecStream:
        return containerio.PodmanExec(self._api, self._transport, container_id, argv, stdin=stdin, tty=tty)

    def close(self) -> None:
        self._closed = True
        self._api.close()
        self._transport.close()
