"""Where a pod looks names up: its dnsPolicy and dnsConfig as Podman's fields for /etc/resolv.conf (resolv.conf(5)).

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/. Podman writes the node's own file
where it is given nothing; each of servers, searches and options that it is given replaces the node's. So a dnsConfig is
added to what a policy of the cluster says, as the kubelet does, but replaces the node's own with policy Default.
"""

from __future__ import annotations

from typing import Any

from ktool.api.obj import Obj, get, namespace
from ktool.logic.network.zone import DOMAIN, SERVER
from ktool.logic.pod.podenv import ConfigError

NO_SEARCH = "."
"""What Podman takes as: no search list, not even the node's."""
NDOTS = ("ndots", "5")


def resolver(pod: Obj) -> dict[str, Any]:
    """dns_server, dns_search and dns_option of a PodSpecGenerator, empty where the node's own are wanted. Not for a
    pod on its node's network: Podman takes none of them there."""
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
    """The same for a pod on its node's network, as the text of the file; "" for others and where the node's own is
    wanted, which ClusterFirst means there. Raises ConfigError for what would need that one with something added."""
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
