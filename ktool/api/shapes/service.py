"""core/v1 ServiceSpec and ServiceStatus: schema, defaults and validation. kinds/service and logic/network use them.

Source: kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1 and its validation
(k8s.io/kubernetes/pkg/apis/core/validation, ValidateService and ValidateServiceUpdate).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from ktool.api.errors import Cause
from ktool.api.marks import CLUSTER_DNS, SERVICE_CIDR
from ktool.api.obj import Obj, get, put
from ktool.api.rules import names
from ktool.api.schema import Field
from ktool.api.shapes.build import array, boolean, choice, int_or_string, integer, obj, string, string_map, strings
from ktool.api.shapes.container import PORT
from ktool.api.shapes.meta import CONDITIONS

NODE_PORTS = range(30000, 32768)
DAY = 86400
AFFINITY_SECONDS = 10800

PROTOCOLS = ("TCP", "UDP", "SCTP")
APP_PROTOCOL = string("What is spoken on it: a name of IANA's or one with a prefix. For people and meshes.")

SERVICE_PORT = obj(
    "One port of the service.",
    {
        "name": string("Name of the port; may be left out where there is only one."),
        "protocol": choice("Transport protocol.", *PROTOCOLS, default="TCP"),
        "port": integer("Port of the service.", required=True, **PORT),
        "targetPort": int_or_string("Port in the pods, or the name of one of their ports; `port` if left out."),
        "nodePort": integer(
            "Port of every node (30000 to 32767), given where it is left out.", minimum=0, maximum=65535
        ),
        "appProtocol": APP_PROTOCOL,
    },
)

SERVICE_SPEC = obj(
    "Which pods are reached how.",
    {
        "type": choice(
            "How it is reached: inside the cluster, also at a port of every node, also at every node's own address, or"
            " as another name for something outside.",
            "ClusterIP",
            "NodePort",
            "LoadBalancer",
            "ExternalName",
            default="ClusterIP",
        ),
        "ports": array("Ports of the service.", SERVICE_PORT, "port,protocol"),
        "selector": string_map("Labels of the pods. Without it, EndpointSlices are written by hand."),
        "clusterIP": string('Address inside the cluster, given where it is left out; "None" for a headless service.'),
        "clusterIPs": strings("The same as a list."),
        "externalIPs": strings("Further addresses that lead here, where something routes them to a node."),
        "externalName": string("DNS name that a service of type ExternalName stands for."),
        "sessionAffinity": choice("ClientIP: a client stays with its pod.", "None", "ClientIP", default="None"),
        "sessionAffinityConfig": obj(
            "How long a client stays.",
            {
                "clientIP": obj(
                    "For ClientIP.",
                    {"timeoutSeconds": integer("Seconds after its last connection.", minimum=1, maximum=DAY)},
                )
            },
        ),
        "publishNotReadyAddresses": boolean("Pods count before they are ready."),
        "internalTrafficPolicy": choice("Local: from a node only to pods on it.", "Cluster", "Local"),
        "externalTrafficPolicy": choice("The same for connections from outside.", "Cluster", "Local"),
        "allocateLoadBalancerNodePorts": boolean("Whether a LoadBalancer gets node ports too."),
        "ipFamilies": strings("Address families; ktool has IPv4 only.", moot=(["IPv4"],), acted=False),
        "ipFamilyPolicy": choice(
            "Whether both families are wanted.",
            "SingleStack",
            "PreferDualStack",
            "RequireDualStack",
            acted=False,
            moot=("SingleStack", "PreferDualStack"),
        ),
        "healthCheckNodePort": integer("Where a load balancer asks for local pods.", acted=False, **PORT),
        "loadBalancerClass": string("Which implementation serves it.", acted=False),
        "loadBalancerIP": string("No longer used by Kubernetes.", acted=False),
        "loadBalancerSourceRanges": strings("Who may connect from outside.", acted=False),
        "trafficDistribution": string("Which endpoints are preferred.", acted=False),
    },
)

SERVICE_STATUS = obj(
    "Where it is reached from outside.",
    {
        "loadBalancer": obj(
            "Of a LoadBalancer.",
            {
                "ingress": array(
                    "Addresses.",
                    obj(
                        "One address.",
                        {
                            "ip": string("Its IP."),
                            "hostname": string("Its name."),
                            "ipMode": string("How packets arrive there."),
                            "ports": array("State of its ports.", Field("any")),
                        },
                    ),
                )
            },
        ),
        "conditions": CONDITIONS,
    },
)


def ports_of(service: Obj) -> list[Obj]:
    return list(get(service, "spec", "ports", default=()))


def is_external_name(service: Obj) -> bool:
    return bool(get(service, "spec", "type") == "ExternalName")


def is_headless(service: Obj) -> bool:
    return bool(get(service, "spec", "clusterIP") == "None")


def is_exposed(service: Obj) -> bool:
    """Whether the service is also reachable from outside the cluster at node ports."""
    return get(service, "spec", "type") in ("NodePort", "LoadBalancer")


# --- defaults ----------------------------------------------------------------------------------------------------


def default_service(service: Obj) -> Obj:
    """Fill in the defaults that depend on other fields. Cluster IPs and node ports are allocated by the controller
    later."""
    spec = service.get("spec")
    if not isinstance(spec, dict):
        return service
    wanted = {key: value for key, value in _defaults(spec) if spec.get(key) is None}
    ports = [
        port if port.get("targetPort") else {**port, "targetPort": port["port"]} for port in spec.get("ports") or ()
    ]
    if ports != (spec.get("ports") or []):
        wanted["ports"] = ports
    return put(service, "spec", {**spec, **wanted}) if wanted else service


def _defaults(spec: Obj) -> Iterator[tuple[str, object]]:
    type_ = spec.get("type", "ClusterIP")
    if type_ == "ExternalName":
        return
    yield "internalTrafficPolicy", "Cluster"
    yield "ipFamilies", ["IPv4"]
    yield "ipFamilyPolicy", "SingleStack"
    if spec.get("clusterIP"):
        yield "clusterIPs", [spec["clusterIP"]]
    elif spec.get("clusterIPs"):
        yield "clusterIP", spec["clusterIPs"][0]
    if type_ in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        yield "externalTrafficPolicy", "Cluster"
    if type_ == "LoadBalancer":
        yield "allocateLoadBalancerNodePorts", True
    if spec.get("sessionAffinity") == "ClientIP":
        yield "sessionAffinityConfig", {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


# --- rules -------------------------------------------------------------------------------------------------------


def validate_service(service: Obj, old: Obj | None) -> list[Cause]:
    spec = get(service, "spec", default={})
    causes = [*_name(service), *_ports(service, old), *_addresses(spec), *_policies(spec), *_external_name(spec)]
    causes += names.label_causes(spec.get("selector") or {}, "spec.selector")
    return causes + (_changes(spec, get(old, "spec", default={})) if old is not None else [])


def _name(service: Obj) -> Iterator[Cause]:
    """RFC 1035 label: the first label of a DNS name begins with a letter."""
    own = str(get(service, "metadata", "name", default=""))
    if names.dns_label(own) or not own[:1].isalpha():
        message = f"\"{own}\" must be lower case letters, digits and '-', at most 63, and begin with a letter"
        yield Cause("metadata.name", message)


def _ports(service: Obj, old: Obj | None) -> Iterator[Cause]:
    ports = ports_of(service)
    if not ports and not is_headless(service) and not is_external_name(service):
        yield Cause("spec.ports", "is required", "FieldValueRequired")
    before = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in ports_of(old or {})}
    seen: set[object] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name, key = port.get("name") or "", (port.get("protocol"), port["port"])
        if not name and len(ports) > 1:
            yield Cause(f"{path}.name", "is required where there are several ports", "FieldValueRequired")
        if name and (problem := _port_name(name)):
            yield Cause(f"{path}.name", f'"{name}" {problem}')
        if (name and name in seen) or key in seen:
            what = f"port name {name}" if name in seen else f"port {port['port']} of {port.get('protocol')}"
            yield Cause(path, f"{what} is there twice", "FieldValueDuplicate")
        seen |= {name, key}
        yield from _target(port, path)
        if node_port := port.get("nodePort"):
            kept = old is not None and before.get(key) == node_port
            yield from _node_port(service, node_port, f"{path}.nodePort", seen, kept, port.get("protocol"))


def _port_name(name: str) -> str:
    """A DNS label without dots (core/v1 ServicePort: DNS_LABEL)."""
    return names.dns_label(name)


def _target(port: Obj, path: str) -> Iterator[Cause]:
    target = port.get("targetPort")
    if isinstance(target, int) and not 1 <= target <= 65535:
        yield Cause(f"{path}.targetPort", f"must be between 1 and 65535, not {target}")
    if isinstance(target, str) and (problem := names.port_name(target)):
        yield Cause(f"{path}.targetPort", f'"{target}" {problem}')


def _node_port(
    service: Obj, node_port: int, path: str, seen: set[object], kept: bool, protocol: object
) -> Iterator[Cause]:
    if not is_exposed(service) and not kept:
        message = f"may not be used when `type` is '{get(service, 'spec', 'type')}'"
        yield Cause(path, message, "FieldValueForbidden")
    elif node_port not in NODE_PORTS:
        yield Cause(path, f"must be between {NODE_PORTS.start} and {NODE_PORTS.stop - 1}, not {node_port}")
    if ("node", node_port, protocol) in seen:
        yield Cause(path, f"node port {node_port} is there twice", "FieldValueDuplicate")
    seen.add(("node", node_port, protocol))


def _addresses(spec: Obj) -> Iterator[Cause]:
    address, listed = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if address and address != "None":
        yield from _cluster_ip(address)
    if address == "None" and spec.get("type", "ClusterIP") not in ("ClusterIP", "ExternalName"):
        yield Cause("spec.clusterIP", f"may not be set to 'None' for {spec['type']} services")
    if listed and (len(listed) > 1 or listed[0] != address):
        yield Cause("spec.clusterIPs", f"must be the same as spec.clusterIP: [{address}]; ktool has IPv4 only")
    if spec.get("ipFamilyPolicy") == "RequireDualStack" or "IPv6" in (spec.get("ipFamilies") or ()):
        yield Cause("spec.ipFamilies", "ktool has IPv4 only")
    for index, entry in enumerate(spec.get("externalIPs") or ()):
        if problem := usable_address(entry):
            yield Cause(f"spec.externalIPs[{index}]", f'"{entry}" {problem}')


def _cluster_ip(address: str) -> Iterator[Cause]:
    if problem := _ipv4(address):
        yield Cause("spec.clusterIP", f'"{address}" {problem}, "None" for a headless service, or left out')
        return
    found = IPv4Address(address)
    if found not in SERVICE_CIDR or found in (SERVICE_CIDR.network_address, SERVICE_CIDR.broadcast_address):
        yield Cause("spec.clusterIP", f"must be an address of {SERVICE_CIDR}, not {address}")
    elif found == CLUSTER_DNS:
        yield Cause("spec.clusterIP", f"{address} is the address of the cluster's DNS server")


def _ipv4(text: str) -> str:
    try:
        IPv4Address(text)
    except ValueError:
        return "must be an IPv4 address such as 10.96.0.40"
    return ""


def usable_address(text: str) -> str:
    """Why traffic cannot be sent to (or received at) an address; "" for a usable one."""
    if problem := _ipv4(text):
        return problem
    found = ip_address(text)
    if found.is_unspecified or found.is_loopback or found.is_link_local or found.is_multicast:
        return "may not be an unspecified, loopback, link-local or multicast address"
    return ""


def _policies(spec: Obj) -> Iterator[Cause]:
    external = spec.get("type") in ("NodePort", "LoadBalancer") or spec.get("externalIPs")
    if spec.get("externalTrafficPolicy") == "Local" and not external:
        message = "may only be set for services that are reached from outside"
        yield Cause("spec.externalTrafficPolicy", message)
    if spec.get("sessionAffinity") != "ClientIP" and get(spec, "sessionAffinityConfig", "clientIP"):
        message = "must not be set when session affinity is None"
        yield Cause("spec.sessionAffinityConfig", message, "FieldValueForbidden")


def _external_name(spec: Obj) -> Iterator[Cause]:
    if spec.get("type") != "ExternalName":
        return
    target = str(spec.get("externalName") or "")
    if not target:
        yield Cause("spec.externalName", "is required", "FieldValueRequired")
    elif problem := names.dns_subdomain(target.removesuffix(".")):
        yield Cause("spec.externalName", f'"{target}" {problem}')


def _changes(spec: Obj, old: Obj) -> list[Cause]:
    """Validate an update: a cluster IP is kept for the life of the service, and allocated again where an update leaves
    it out."""
    before, now = old.get("clusterIP") or "", spec.get("clusterIP") or ""
    if "ExternalName" in (spec.get("type"), old.get("type")) or not before or not now or now == before:
        return []
    message = f"field is immutable (it is {before}); delete the service and create it anew"
    return [Cause("spec.clusterIP", message)]
