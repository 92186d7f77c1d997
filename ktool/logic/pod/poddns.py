"""Pod DNS: dnsPolicy and dnsConfig as Podman's fields for /etc/resolv.conf (resolv.conf(5)).

logic/pod/podspec and podvolumes call it. Source:
https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/. Podman writes the node's own file where it is
given nothing; each of servers, searches and options that it is given replaces the node's. So a dnsConfig is added to a
cluster policy's values, as the kubelet does, but replaces the node's own with policy Default.
"""

from __future__ import annotations

from typing import Any

from ktool.api.obj import Obj, get, namespace
from ktool.logic.network.zone import DOMAIN, SERVER
from ktool.logic.pod.podenv import ConfigError

NO_SEARCH = "."
"""Podman's value for an empty search list, not even the node's."""
NDOTS = ("ndots", "5")


def resolver(pod: Obj) -> dict[str, Any]:
    """dns_server, dns_search and dns_option of a PodSpecGenerator; empty for the node's own. Not for a pod on the host
    network: Podman accepts none of them there."""
    policy = str(get(pod, "spec", "dnsPolicy", default="ClusterFirst"))
    own = get(pod, "spec", "dnsConfig", default={})
    servers, searches, options = list(own.get("nameservers") or ()), list(own.get("searches") or ()), _options(own)
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        servers = [SERVER, *servers]
        searches = [f"{namespace(pod)}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN, *searches]
        options = dict([NDOTS]) | options
    elif policy == "None":
        searches = searches or [NO_SEARCH]
    found = {
        "dns_server": list(dict.fromkeys(servers)),
        "dns_search": list(dict.fromkeys(searches)),
        "dns_option": [f"{name}:{value}" if value else name for name, value in options.items()],
    }
    return {key: value for key, value in found.items() if value}


def resolv_conf(pod: Obj) -> str:
    """The text of resolv.conf for a pod on the host network; "" for other pods, and for the node's own file, which is
    what ClusterFirst means there. Raises ConfigError where the node's own file would have to be extended."""
    spec = pod.get("spec") or {}
    if not spec.get("hostNetwork"):
        return ""
    if spec.get("dnsPolicy", "ClusterFirst") == "ClusterFirst":
        pod = {**pod, "spec": {**spec, "dnsPolicy": "Default"}}
    wanted = resolver(pod)
    if not wanted:
        return ""
    if not wanted.get("dns_server"):
        raise ConfigError(
            "dnsConfig of a pod on its node's network must have nameservers, or dnsPolicy be ClusterFirstWithHostNet"
        )
    searches = [search for search in wanted.get("dns_search", ()) if search != NO_SEARCH]
    lines = [f"search {' '.join(searches)}"] if searches else []
    lines += [f"nameserver {server}" for server in wanted["dns_server"]]
    lines += [f"options {' '.join(wanted['dns_option'])}"] if wanted.get("dns_option") else []
    return "".join(f"{line}\n" for line in lines)


def _options(own: Obj) -> dict[str, str]:
    return {str(entry["name"]): str(entry.get("value") or "") for entry in own.get("options") or ()}
