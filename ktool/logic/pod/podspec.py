"""Rendering of a Pod for Podman 4.3.1: a PodSpecGenerator, a SpecGenerator for each container, the volumes and the
images.

logic/pod/podplan calls it. Source: core/v1 PodSpec; github.com/containers/podman/v4 pkg/specgen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ktool.api.marks import CONTAINER, POD_CLUSTER, POD_HASH, POD_IP, POD_NAME, POD_NAMESPACE, POD_UID
from ktool.api.obj import Obj, content_hash, get, name, namespace, uid
from ktool.api.pod import containers_in, init_containers, is_sidecar
from ktool.api.units import quantity
from ktool.logic.node.nodeaction import EnsureImage, Failure, PreparePath
from ktool.logic.node.volume import Volume
from ktool.logic.pod import pullauth, secretenv
from ktool.logic.pod.poddns import resolver
from ktool.logic.pod.podenv import ConfigError, Environment, Lookup, Scope, arguments, environment
from ktool.logic.pod.podfields import (
    container_name,
    grace_period,
    host_network,
    hostname,
    image_of,
    pod_name,
    pull_policy,
)
from ktool.logic.pod.podvolumes import Volumes, each_once, mounts, volumes

NETWORK = "ktool"
"""The Podman network of the cluster on every node."""

LOG_BYTES = 10 * 1024 * 1024
"""The size at which a container's log is rotated, as the kubelet's containerLogMaxSize."""

CPU_PERIOD = 100_000
MIN_SHARES = 2
_RESTART = {"Always": "always", "OnFailure": "on-failure", "Never": "no"}


@dataclass(frozen=True)
class Rendered:
    """A rendered pod. `containers` holds every container that can be created now, init containers first (named in
    `init`); `secrets` the Podman secrets to create first (CreateContainer); `problems` the reasons against the other
    containers, with "" for a reason against all."""

    pod_name: str
    hash: str
    pod: Mapping[str, Any]
    containers: Mapping[str, Mapping[str, Any]]
    init: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    host_paths: tuple[PreparePath, ...] = ()
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    images: Mapping[str, EnsureImage] = field(default_factory=dict)
    problems: Mapping[str, Failure] = field(default_factory=dict)


# --- the whole ---------------------------------------------------------------------------------------------------


def render(pod: Obj, *, node: Obj, cluster: str, ip: str, lookup: Lookup) -> Rendered:
    """Render `pod` at the address `ip` ("" on the host network), with the ConfigMaps and Secrets that `lookup` gives
    now."""
    scope = Scope(pod, node, ip, lookup)
    found = volumes(scope)
    spec = pod.get("spec") or {}
    init = tuple(container["name"] for container in init_containers(pod))
    containers: dict[str, dict[str, Any]] = {}
    environments: dict[str, Environment] = {}
    secrets: dict[str, Mapping[str, str]] = {}
    images: dict[str, EnsureImage] = {}
    paths = list(found.host_paths)
    problems: dict[str, Failure] = {}
    keys = pullauth.keyring(pod, lookup)
    if found.problems:
        problems[""] = Failure("FailedMount", "; ".join(found.problems.values()), "WriteVolumes")
    for container in containers_in(spec):
        own = container["name"]
        images[own] = keys.ensure(image_of(pod, container), pull_policy(pod, container))
        if found.problems:
            continue
        try:
            values = environment(container, scope)
            payload, needed = _container(container, own in init, pod, found, values)
        except ConfigError as error:
            problems[own] = Failure("CreateContainerConfigError", str(error), "CreateContainer")
            continue
        containers[own], environments[own] = payload, values
        secrets[own] = secretenv.lookups(container, pod, values)
        paths += needed
    hidden = secretenv.volume(pod, environments)
    body = _pod(pod)
    digest = content_hash([body, containers])
    labels = _labels(pod, cluster, ip, digest)
    return Rendered(
        pod_name=pod_name(pod),
        hash=digest,
        pod={**body, "labels": labels, **_network(pod, ip)},
        containers={own: {**payload, "labels": {**labels, CONTAINER: own}} for own, payload in containers.items()},
        init=init,
        secrets=secrets,
        volumes=found.volumes if hidden is None else (*found.volumes, hidden),
        host_paths=each_once(paths),
        images=images,
        problems=problems,
    )


def _labels(pod: Obj, cluster: str, ip: str, digest: str) -> dict[str, str]:
    return {
        POD_CLUSTER: cluster,
        POD_NAMESPACE: namespace(pod),
        POD_NAME: name(pod),
        POD_UID: uid(pod),
        POD_HASH: digest,
        POD_IP: ip,
    }


# --- the pod -----------------------------------------------------------------------------------------------------


def _pod(pod: Obj) -> dict[str, Any]:
    """The pod without its labels and address: the input of its spec hash."""
    spec = pod.get("spec") or {}
    body: dict[str, Any] = {
        "name": pod_name(pod),
        "infra_name": f"infra_{pod_name(pod)}",
        "shared_namespaces": ["net", "uts", "ipc"],
        "exit_policy": "continue",
        "resource_limits": {"cpu": {"shares": _pod_shares(spec)}},
    }
    if host_network(pod):
        body["netns"] = {"nsmode": "host"}
        body["utsns"] = {"nsmode": "host"}
        return body
    body["netns"] = {"nsmode": "bridge"}
    body["hostname"] = hostname(pod)
    body |= resolver(pod)
    if ports := _port_mappings(spec):
        body["portmappings"] = ports
    aliases = [
        f"{host}:{alias['ip']}" for alias in spec.get("hostAliases") or () for host in alias.get("hostnames") or ()
    ]
    if aliases:
        body["hostadd"] = aliases
    return body


def _network(pod: Obj, ip: str) -> dict[str, Any]:
    if host_network(pod):
        return {}
    return {"Networks": {NETWORK: {"static_ips": [ip], "static_mac": hardware_address(ip)} if ip else {}}}


def hardware_address(ip: str) -> str:
    """The hardware address that belongs to an IP address, always the same: neighbours cache it (RFC 826) for up to a
    minute, and a pod recreated with its old address would be unreachable for that long. Locally administered."""
    return ":".join(["0a", "58", *(f"{int(octet):02x}" for octet in ip.split("."))])


def _port_mappings(spec: Obj) -> list[dict[str, Any]]:
    """The hostPorts of all containers: Podman publishes them on the pod."""
    result = []
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                result.append(
                    {
                        "host_ip": port.get("hostIP") or "",
                        "host_port": int(port["hostPort"]),
                        "container_port": int(port["containerPort"]),
                        "protocol": str(port.get("protocol") or "TCP").lower(),
                        "range": 1,
                    }
                )
    return result


# --- a container -------------------------------------------------------------------------------------------------


def _container(
    container: Obj, is_init: bool, pod: Obj, found: Volumes, values: Environment
) -> tuple[dict[str, Any], list[PreparePath]]:
    binds, needed, in_the_way = mounts(container, found)
    if in_the_way:
        raise ConfigError("; ".join(in_the_way))
    policy = str(get(pod, "spec", "restartPolicy", default="Always"))
    payload: dict[str, Any] = {
        "name": container_name(container["name"], pod),
        "pod": pod_name(pod),
        "image": image_of(pod, container),
        "env": values.plain,
        "restart_policy": "always" if is_init and is_sidecar(container) else "no" if is_init else _RESTART[policy],
        "stop_timeout": grace_period(pod),
        "log_configuration": {"driver": "k8s-file", "size": LOG_BYTES},
        "systemd": "false",
        "resource_limits": _resources(container),
    }
    # A command replaces the image's ENTRYPOINT and its CMD with it; args replace CMD alone. Podman drops CMD
    # exactly where `entrypoint` is given, so both fields stay absent where the Pod has none.
    if command := arguments(container.get("command"), values, "command"):
        payload["entrypoint"] = command
    if args := arguments(container.get("args"), values, "args"):
        payload["command"] = args
    if container.get("workingDir"):
        payload |= {"work_dir": container["workingDir"], "create_working_dir": True}
    if container.get("stdin"):
        payload["stdin"] = True
    if container.get("tty"):
        payload["terminal"] = True
    if secretenv.concerns(container):
        payload["secret_env"] = secretenv.names(container, pod, values)
        payload["log_configuration"]["path"] = secretenv.log_path(container, pod)
    if binds:
        payload["mounts"] = binds
    return {**payload, **_security(container, pod)}, needed


def _resources(container: Obj) -> dict[str, Any]:
    """OCI LinuxResources: swap equals memory (the container gets no swap), shares follow the request, quota the limit
    (cgroup v1 names; Podman converts them for v2)."""
    limits = get(container, "resources", "limits", default={})
    cpu: dict[str, Any] = {"shares": _shares(container)}
    if limits.get("cpu"):
        cpu |= {"quota": max(1000, quantity.milli(limits["cpu"]) * CPU_PERIOD // 1000), "period": CPU_PERIOD}
    result: dict[str, Any] = {"cpu": cpu}
    if limits.get("memory"):
        size = quantity.bytes_(limits["memory"])
        result["memory"] = {"limit": size, "swap": size}
    return result


def _shares(container: Obj) -> int:
    """CPU shares from the request (the limit where there is none): 1024 for a core, at least 2."""
    limit = get(container, "resources", "limits", "cpu", default="0")
    request = get(container, "resources", "requests", "cpu", default=limit)
    return max(MIN_SHARES, quantity.milli(request) * 1024 // 1000)


def _pod_shares(spec: Obj) -> int:
    """CPU shares of the pod's own cgroup, without which its containers would compete only with each other."""
    inits = spec.get("initContainers") or ()
    beside = sum(_shares(container) for container in inits if is_sidecar(container))
    first = [_shares(container) + beside for container in inits if not is_sidecar(container)]
    return max(sum(_shares(container) for container in spec.get("containers") or ()) + beside, *first, MIN_SHARES)


def _security(container: Obj, pod: Obj) -> dict[str, Any]:
    """securityContext: the container's fields override the pod's (core/v1 SecurityContext)."""
    whole = get(pod, "spec", "securityContext", default={})
    own = container.get("securityContext") or {}
    result: dict[str, Any] = {}

    def chosen(key: str) -> Any:
        return own.get(key) if own.get(key) is not None else whole.get(key)

    user, group = chosen("runAsUser"), chosen("runAsGroup")
    if user is None and group is not None:
        raise ConfigError("runAsGroup is specified without runAsUser")
    if chosen("runAsNonRoot") and user == 0:
        raise ConfigError("container's runAsUser breaks non-root policy")
    if user is not None:
        result["user"] = str(user) if group is None else f"{user}:{group}"
    groups = [*(whole.get("supplementalGroups") or ()), *([whole["fsGroup"]] if "fsGroup" in whole else ())]
    if groups:
        result["groups"] = [str(entry) for entry in groups]
    if own.get("privileged"):
        result["privileged"] = True
    if own.get("readOnlyRootFilesystem"):
        result["read_only_filesystem"] = True
    if own.get("allowPrivilegeEscalation") is False:
        result["no_new_privileges"] = True
    capabilities = own.get("capabilities") or {}
    if capabilities.get("add"):
        result["cap_add"] = [_capability(entry) for entry in capabilities["add"]]
    if capabilities.get("drop"):
        result["cap_drop"] = [_capability(entry) for entry in capabilities["drop"]]
    return result


def _capability(text: str) -> str:
    """`NET_ADMIN` as Podman wants it: `CAP_NET_ADMIN`; `all` for every one."""
    upper = re.sub(r"^CAP_", "", text.upper())
    return "all" if upper == "ALL" else f"CAP_{upper}"
