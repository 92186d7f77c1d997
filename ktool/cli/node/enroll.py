"""Making machines nodes: check what they need, pin their host keys, write Node objects. For `node add` and `lab up`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ktool.api.errors import ApiError, UsageError, UserError, is_not_found
from ktool.api.marks import CONNECTION, HOST_KEY, IDENTITY, POD_CIDR
from ktool.api.obj import Obj, annotations_of, get, labels, meta, name, put
from ktool.api.ref import NODE, Ref
from ktool.api.rules import names
from ktool.cli.verbs.network import mode as network_mode
from ktool.logic.network.links import HOSTGW
from ktool.logic.network.nodefields import address_of

if TYPE_CHECKING:
    from ktool.registry.client import Client

SIDE_BY_SIDE = 8
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._%-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Newcomer:
    """A machine that shall be a node. `connection` is its ssh://, local:// or simulated:// URL."""

    name: str
    connection: str
    identity: str = ""
    host_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Obj, ...] = ()
    accept_new_host_key: bool = False
    take_over: bool = False
    pod_cidr: str = ""

    @property
    def is_simulated(self) -> bool:
        return self.connection.startswith("simulated:")

    def obj(self) -> Obj:
        """Its Node object."""
        notes = {CONNECTION: self.connection, IDENTITY: self.identity, HOST_KEY: self.host_key}
        metadata: dict[str, Any] = {
            "name": self.name,
            "annotations": {key: value for key, value in notes.items() if value},
        }
        if self.labels:
            metadata["labels"] = dict(self.labels)
        node: Obj = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        spec: dict[str, Any] = {"taints": list(self.taints)} if self.taints else {}
        if self.pod_cidr:
            spec |= {"podCIDR": self.pod_cidr, "podCIDRs": [self.pod_cidr]}
        return {**node, "spec": spec} if spec else node


# --- what users type ---------------------------------------------------------------------------------------------


def ssh_url(target: str) -> str:
    """`[user@]host[:port]` as an ssh:// URL; root where no user is named. UsageError where it is no such thing."""
    user, at, place = target.rpartition("@")
    host, port = place, "22"
    if place.startswith("["):
        host, bracket, rest = place.partition("]")
        host, port = host + bracket, rest.removeprefix(":") or "22"
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    elif place.count(":") > 1:
        host = f"[{place}]"
    if (at and not user) or not _HOST.fullmatch(host) or not port.isascii() or not port.isdecimal():
        raise UsageError(f"{target!r} is not of the form [user@]host[:port]")
    if not 0 < int(port) < 65536:
        raise UsageError(f"{target!r}: there is no port {port}")
    return f"ssh://{quote(user or 'root', safe='')}@{host}:{port}"


def label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--label: {text!r} is not of the form key=value")
    return key, value


def taint(text: str) -> Obj:
    """`key=value:Effect` or `key:Effect`, as kubectl writes taints."""
    given, colon, effect = text.rpartition(":")
    key, equals, value = given.partition("=")
    if not colon or not key or effect not in EFFECTS:
        raise UsageError(
            f"--taint: {text!r} is not of the form key=value:Effect, Effect being one of {', '.join(EFFECTS)}"
        )
    return {"key": key, **({"value": value} if equals else {}), "effect": effect}


# --- enrolling ---------------------------------------------------------------------------------------------------


def enroll(client: Client, newcomers: Sequence[Newcomer], say: Say, *, again: bool = False) -> list[Ref]:
    """Check every machine, and write the Node objects if all of them can be nodes.

    `again`: a node that is there already is brought up to date; without it that is an error. UserError names every
    unmet need of every machine."""
    known = {name(node): node for node in client.list(NODE).items}
    if not again:
        _refuse_known(known, newcomers)
    refuse_strange_subnets(newcomers)
    real = [one for one in newcomers if not one.is_simulated]
    ready = _checked(real, known, client.version()["cluster"], network_mode(client), say) if real else {}
    nodes = [ready.get(one.name, one).obj() for one in newcomers]
    for node in nodes:
        say(f"node/{name(node)} {_written(client, node, known.get(name(node)))}")
    return [Ref(NODE, "", name(node)) for node in nodes]


def _written(client: Client, node: Obj, before: Obj | None) -> str:
    """Create a Node, or bring it up to date. Not by apply: a user who applies a manifest of the Node later, for a
    label or a taint, must not take away what was said here."""
    if before is None:
        client.create(node)
        return "added"
    after = client.patch(Ref.of(node), {"metadata": {"annotations": annotations_of(node), "labels": labels(node)}})
    return "unchanged" if meta(after)["resourceVersion"] == meta(before)["resourceVersion"] else "configured"


def _refuse_known(known: Mapping[str, Obj], newcomers: Sequence[Newcomer]) -> None:
    twice = [one.name for one in newcomers if one.name in known]
    if twice:
        what = f"node {twice[0]} exists" if len(twice) == 1 else f"nodes {', '.join(twice)} exist"
        raise UserError(f"{what} already; `ktool node remove` takes a node out of the cluster")


def refuse_strange_subnets(newcomers: Sequence[Newcomer]) -> None:
    """UserError for a pod subnet that is none or not of the cluster's."""
    for one in newcomers:
        if not one.pod_cidr:
            continue
        if problem := names.subnet(one.pod_cidr):
            raise UserError(f"--pod-cidr: {one.pod_cidr!r} {problem}")
        subnet = ip_network(one.pod_cidr)
        if not (subnet.version == 4 and subnet.subnet_of(IPv4Network(POD_CIDR))):
            raise UserError(f"--pod-cidr: {one.pod_cidr} is not within {POD_CIDR}, the addresses of the cluster's pods")


def _checked(
    newcomers: Sequence[Newcomer], known: Mapping[str, Obj], cluster: str, mode: str, say: Say
) -> dict[str, Newcomer]:
    """The machines with their host keys pinned, by name. UserError with everything that is in the way."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        looks = list(pool.map(lambda machine: _look(machine, cluster, mode, known), newcomers))
    boots = {get(node, "status", "nodeInfo", "bootID"): name(node) for node in known.values()}
    problems = []
    for look in looks:
        own = look.machine.name
        problems += [f"{own}: {need}" for need in look.needs]
        if look.boot and (same := boots.setdefault(look.boot, own)) != own:
            problems.append(f"{own}: it is the very machine that is node {same}")
        for warning in look.warnings:
            say(f"Warning: {own}: {warning}")
    if problems:
        raise UserError("\n".join([*problems, "no node was added"]))
    return {look.machine.name: look.machine for look in looks}


@dataclass(frozen=True)
class _Look:
    """What was found on one machine. `boot`: its boot id, which no other machine has."""

    machine: Newcomer
    needs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    boot: str = ""


def _look(machine: Newcomer, cluster: str, mode: str, known: Mapping[str, Obj]) -> _Look:
    from ktool.node import bootstrap, connect, fence
    from ktool.node.base import NodeError
    from ktool.node.podman import facts

    node = put(machine.obj(), "metadata", "labels", dict(machine.labels))
    try:
        transport = connect.transport_for(node, accept_new_host_key=machine.accept_new_host_key)
    except NodeError as error:
        return _Look(machine, (error.message,))
    try:
        needs = bootstrap.check(transport)
        if needs:
            return _Look(machine, tuple(needs))
        if (owner := fence.owner(transport)) not in ("", cluster):
            if not machine.take_over:
                return _Look(machine, (f"it {fence.foreign(owner)}",))
            fence.evict(transport)
        reached = [address for node in known.values() if name(node) != machine.name and (address := address_of(node))]
        needs = bootstrap.overlaps(transport) + ([] if mode == HOSTGW else bootstrap.mode_needs(transport, mode, []))
        if needs:
            return _Look(machine, tuple(needs))
        warnings = bootstrap.mode_needs(transport, mode, reached) if mode == HOSTGW else []
        before = time.time()
        said = transport.run(list(facts.INFO))
        info = facts.info(said.stdout.decode(errors="replace"))
        warnings += filter(None, [bootstrap.clock_warning(info, before, time.time())])
        key = machine.host_key or getattr(transport, "server_key", str)()
        return _Look(replace(machine, host_key=key), (), tuple(warnings), info.boot_id)
    except NodeError as error:
        return _Look(machine, (error.message,))
    except ValueError as error:  # facts.info: the machine answered with something else
        return _Look(machine, (f"it does not say what it is: {error}",))
    finally:
        transport.close()


def forget(client: Client, ref: Ref) -> bool:
    """Take a node out without cleaning it: its machine is gone. Whether it was there."""
    try:
        client.delete(ref)
        client.patch(ref, {"metadata": {"finalizers": None}})
    except ApiError as error:
        if not is_not_found(error):
            raise
        return False
    return True
