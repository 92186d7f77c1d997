"""The composition root: the only module that builds a Store, a Registry, controllers and node loops, and starts
threads.

Who acts is decided here: a server that runs for this state directory does; otherwise the command itself runs the
control plane, under the Lease, until what it asked for has converged.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ktool.api.kind import Kind
from ktool.api.kinds import Kinds, discover
from ktool.api.obj import Obj
from ktool.api.pod import node_of
from ktool.api.ref import NAMESPACE, POD, Ref

if TYPE_CHECKING:
    from ktool.client.kinds import ServerKinds
    from ktool.control.lease import Leadership
    from ktool.node.base import Runtime
    from ktool.registry.client import Client
    from ktool.registry.registry import Registry
    from ktool.store.sealing.seal import Seal
    from ktool.store.store import Store

log = logging.getLogger(__name__)

FIRST_NAMESPACES = ("default", "kube-system")


# --- where things are --------------------------------------------------------------------------------------------


def home() -> Path:
    """The state directory: KTOOL_HOME, or `ktool` in the XDG state folder (XDG Base Directory Specification)."""
    if chosen := os.environ.get("KTOOL_HOME"):
        return Path(chosen).expanduser().absolute()
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "ktool"


def socket_path() -> Path:
    return home() / "ktool.sock"


def database() -> Path:
    return home() / "ktool.db"


def lab_root() -> Path:
    return home() / "labs"


@cache
def kinds() -> Kinds:
    """The kinds of this program, imported on first use: all there are where this process is the control plane."""
    import ktool.kinds

    return discover(ktool.kinds)


def known_kinds() -> ServerKinds:
    """The kinds of one command: those of this program, and once it asks for another those of the server that answers
    here."""
    from ktool.client.kinds import ServerKinds

    return ServerKinds(kinds(), _served_kinds)


def told_kinds() -> ServerKinds:
    """The kinds that a server tells, all of them with names only: completion need not import the program's own. The
    program's own where no server answers."""
    from ktool.client.kinds import ServerKinds

    told = _served_kinds()
    return ServerKinds(told, list) if told else known_kinds()


def _served_kinds() -> list[Kind]:
    if not _answers():
        return []
    from ktool.client.http import HttpClient
    from ktool.client.kinds import learn

    client = HttpClient(str(socket_path()), Kinds())
    try:
        return learn(client, home() / "discovery.json")
    finally:
        client.close()


# --- the control plane -------------------------------------------------------------------------------------------


class ControlPlane:
    """Everything that acts, on threads of its own: controllers, scheduler, node loops. The caller holds the Lease."""

    def __init__(self, store: Store, registry: Registry, *, token: int, every_node: bool) -> None:
        from ktool.control.controller import Controllers, Stepper
        from ktool.control.scheduler import Scheduler
        from ktool.nodeplane.nodes import Nodes
        from ktool.registry.cache import Cache

        self.cache = Cache(store)
        self.controllers = Controllers(registry, self.cache, kinds(), clock=time.time, effort=time.thread_time)
        self.scheduler = Scheduler(registry, self.cache, clock=time.time)
        self.nodes = Nodes(
            registry,
            self.cache,
            cluster=store.cluster_id,
            connect=connector(store.cluster_id, token),
            clock=time.time,
            every_node=every_node,
        )
        self._deciding = Stepper("controllers", self._decide)
        self._watching = Stepper("watch", self._watch)

    def start(self) -> None:
        self._deciding.start()
        self._watching.start()
        self.nodes.start()

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until what a command brought about is known to all nodes that answer: the endpoints of services follow
        from pods, and the nodes' rules and names from the endpoints."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.cache.sync()
            if self.controllers.queue.idle and self.nodes.up_to_date:
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """End in order: no new decisions, then no new actions on nodes."""
        self._deciding.stop(wake=self.controllers.close)
        self.nodes.stop()
        self._watching.stop(wake=self.cache.close)

    def look(self, namespaces: Collection[str], since: float, timeout: float) -> None:
        """Wait until the store says how the pods of these namespaces are `since` that moment (monotonic)."""
        self.nodes.look(self._nodes_of(namespaces), since, timeout)

    def rest(self, namespaces: Collection[str], since: float, timeout: float) -> None:
        """Wait until the nodes of these namespaces' pods have nothing left to do, such as files of ConfigMaps."""
        self.nodes.rest(self._nodes_of(namespaces), since, timeout)

    def _nodes_of(self, namespaces: Collection[str]) -> set[str]:
        self.cache.sync()
        with self.cache.lock:
            pods = [pod for namespace in namespaces for pod in self.cache.world.list(POD, namespace)]
        return {node for pod in pods if (node := node_of(pod))}

    def _decide(self) -> None:
        """One key of a controller; when none is left, the pods that wait for a node all at once."""
        if not self.controllers.step(timeout=0.0) and not self._place():
            self.controllers.step(timeout=0.2)

    def _place(self) -> bool:
        if not self.scheduler.dirty:
            return False
        self.scheduler.step()
        return True

    def _watch(self) -> None:
        """Bring commits to the cache; its listeners fill the queues."""
        if self.cache.wait(0.2):
            self.cache.sync()


def connector(cluster: str, token: int = 0) -> Callable[[Obj], Runtime]:
    """How to open a node. With a token it is claimed for this control plane; without one nothing may be changed."""

    def connect(node: Obj) -> Runtime:
        from ktool.node.connect import runtime_for

        runtime = runtime_for(node, cluster)
        if token:
            try:
                runtime.claim(cluster, token)
            except BaseException:
                runtime.close()
                raise
        return runtime

    return connect


def sealing() -> Seal:
    """What encrypts the confidential members of all kinds, with the keys of this state directory."""
    from ktool.store.sealing.keyring import KeyRing
    from ktool.store.sealing.seal import Seal

    seal = Seal(KeyRing(home() / "secret.key", os.environ, _ask), _confidential())
    kinds().listen(lambda: seal.cover(_confidential()))
    return seal


def _confidential() -> dict[str, list[str]]:
    """By the prefix of a kind's keys, the members of its objects that are encrypted at rest."""
    members = {kind.gk: [name for name, field in kind.schema.fields.items() if field.masked] for kind in kinds()}
    return {gk.prefix: names for gk, names in members.items() if names}


def _ask(prompt: str) -> str:
    """A passphrase from the person at the terminal; "" where there is none, and from threads that nobody waits for."""
    if threading.current_thread() is not threading.main_thread() or not sys.stdin.isatty():
        return ""
    import getpass

    return getpass.getpass(prompt)


def open_registry() -> tuple[Store, Registry]:
    """The store of this state directory, with the namespaces every cluster has."""
    from ktool.registry.registry import Registry
    from ktool.registry.request import APISERVER
    from ktool.store.store import Store

    home().mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Store(database(), seal=sealing())
    registry = Registry(store, kinds(), clock=time.time)
    missing = [name for name in FIRST_NAMESPACES if store.get(Ref(NAMESPACE, "", name).key) is None]
    for name in missing:
        try:
            registry.as_(APISERVER).create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except Exception as error:
            from ktool.api.errors import is_already_exists

            if not is_already_exists(error):
                raise
    return store, registry


# --- sessions: what a command works with -------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    """A client, and the control plane where this process itself runs it (then it must wait until all is done)."""

    client: Client
    plane: ControlPlane | None = None

    @property
    def acting(self) -> bool:
        return self.plane is not None


@contextmanager
def session(
    act: bool,
    lock_timeout: float = 30.0,
    on_lost: Callable[[], None] = lambda: None,
    known: Kinds | None = None,
) -> Iterator[Session]:
    """Open what a command works with. `act`: it changes something, so somebody has to carry it out; `on_lost` is
    called, from another thread, if this process carries it out and the Lease was taken from it. `known`: the kinds
    that the command may ask a server for, those of this program where none are given.

    Raises Locked where another process acts on this cluster and does not end within `lock_timeout` seconds."""
    with _remote(known or kinds()) or _local(act, lock_timeout, on_lost) as opened:
        yield opened


def _answers() -> bool:
    """Whether the server of this state directory runs."""
    if not socket_path().exists():
        return False
    from ktool.client.http import probe

    return probe(str(socket_path()))


def _remote(known: Kinds) -> AbstractContextManager[Session] | None:
    """A session with the server of this state directory; None where none answers."""
    if not _answers():
        return None
    from ktool.client.http import HttpClient

    client = HttpClient(str(socket_path()), known)

    @contextmanager
    def opened() -> Iterator[Session]:
        try:
            yield Session(client)
        finally:
            client.close()

    return opened()


@contextmanager
def _local(act: bool, lock_timeout: float, on_lost: Callable[[], None]) -> Iterator[Session]:
    from ktool.client.local import LocalClient
    from ktool.nodeplane.podstreams import NodeStreams

    store, registry = open_registry()
    client = LocalClient(registry, NodeStreams(registry, connector(store.cluster_id)))
    try:
        if not act:
            yield Session(client)
            return
        with _leading(registry, lock_timeout, on_lost) as leadership:
            plane = ControlPlane(store, registry, token=leadership.token, every_node=False)
            plane.start()
            try:
                yield Session(client, plane)
                plane.settle()
            finally:
                plane.stop()
    finally:
        store.close()


@contextmanager
def _leading(registry: Registry, lock_timeout: float, on_lost: Callable[[], None]) -> Iterator[Leadership]:
    from ktool.control.lease import Leadership

    leadership = Leadership(registry, _what())
    leadership.acquire(lock_timeout)
    leadership.keep(on_lost)
    try:
        yield leadership
    finally:
        leadership.release()


def end_at_once() -> None:
    """Another control plane acts now (this process slept, or its Lease was broken): not one more step. What was begun
    is planned anew by the other one, exactly as after a kill -9."""
    print(
        "error: another control plane has taken over; this command ends and the other one carries on", file=sys.stderr
    )
    os._exit(5)


def _what() -> str:
    """The command as others see it in the Lease: its words, without what could be a secret value."""
    words = [word for word in sys.argv[1:] if "=" not in word]
    return shlex.join(["ktool", *words])[:120]


# --- the server --------------------------------------------------------------------------------------------------


def serve(
    say: Callable[[str], None],
    stop: threading.Event,
    lock_timeout: float = 30.0,
    held: Callable[[], None] = lambda: None,
) -> None:
    """Run the control plane and answer on the unix socket until `stop` is set or the Lease is lost. `held` is called
    when the Lease is held: before that there is nothing to end in order.

    Raises Locked where another process acts on this cluster."""
    from ktool.nodeplane.podstreams import NodeStreams
    from ktool.serve.server import Server

    store, registry = open_registry()
    try:
        with _leading(registry, lock_timeout, on_lost=lambda: None) as leadership:
            held()
            plane = ControlPlane(store, registry, token=leadership.token, every_node=True)
            streams = NodeStreams(registry, connector(store.cluster_id))
            server = Server(registry, streams, str(socket_path()), say=say)
            plane.start()
            server.start()
            say(f"ktool serves {home()} on {socket_path()}")
            try:
                while not stop.wait(0.2):
                    if leadership.lost.is_set():
                        say("the Lease was taken by another control plane; this one ends")
                        break
            finally:
                server.close()
                plane.stop()
    finally:
        store.close()
