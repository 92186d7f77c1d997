"""core/v1 PodSpec and PodTemplateSpec as of Kubernetes 1.34: field trees and the defaults that depend on other fields.

kinds/pod, kinds/replicaset and the workload shapes use them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ktool.api.obj import Obj
from ktool.api.pod import CONTAINER_GROUPS
from ktool.api.rules.podrules import validate_pod_spec as validate_pod_spec
from ktool.api.schema import Field
from ktool.api.shapes.affinity import AFFINITY, TOLERATION, TOPOLOGY_SPREAD
from ktool.api.shapes.build import (
    array,
    boolean,
    choice,
    integer,
    long,
    name_ref,
    obj,
    quantities,
    string,
    string_map,
    strings,
)
from ktool.api.shapes.container import (
    APPARMOR,
    CONTAINERS,
    EPHEMERAL_CONTAINERS,
    INIT_CONTAINERS,
    RESOURCES,
    SECCOMP,
    SELINUX,
    USER_ID,
    WINDOWS_OPTIONS,
)
from ktool.api.shapes.meta import OBJECT_META
from ktool.api.shapes.volumes import VOLUMES

POD_SECURITY_CONTEXT = obj(
    "Rights of all containers of the pod.",
    {
        "runAsUser": long("User id processes run as.", **USER_ID),
        "runAsGroup": long("Group id processes run as.", **USER_ID),
        "runAsNonRoot": boolean("Refuse to start containers as user 0."),
        "fsGroup": long("Group that owns the volumes and that all processes are in.", **USER_ID),
        "supplementalGroups": array("Further groups of all processes.", long("Group id.", **USER_ID)),
        "fsGroupChangePolicy": choice(
            "When the owner of volumes is changed.", "Always", "OnRootMismatch", acted=False, moot=("Always",)
        ),
        "supplementalGroupsPolicy": choice(
            "Whether the image's own groups count too.", "Merge", "Strict", acted=False, moot=("Merge",)
        ),
        "sysctls": array(
            "Kernel settings of the pod.",
            obj(
                "One setting.",
                {"name": string("Its name.", required=True), "value": string("Its value.", required=True)},
            ),
            acted=False,
        ),
        "seLinuxChangePolicy": choice(
            "How volumes are labelled.", "MountOption", "Recursive", acted=False, moot=("MountOption",)
        ),
        "seLinuxOptions": SELINUX,
        "seccompProfile": SECCOMP,
        "appArmorProfile": APPARMOR,
        "windowsOptions": WINDOWS_OPTIONS,
    },
)
HOST_ALIAS = obj(
    "Names for one address in /etc/hosts.",
    {"ip": string("The address.", required=True), "hostnames": strings("Names of it.")},
)
_DNS_OPTION = obj("One resolver option.", {"name": string("Its name.", required=True), "value": string("Its value.")})
DNS_CONFIG = obj(
    "What stands in /etc/resolv.conf beside the policy's.",
    {
        "nameservers": strings("Addresses of name servers."),
        "searches": strings("Search domains."),
        "options": array("Resolver options.", _DNS_OPTION),
    },
)
_RESOURCE_CLAIM = obj(
    "A resource claim of the pod.",
    {
        "name": string("Name that containers refer to.", required=True),
        "resourceClaimName": string("An existing ResourceClaim."),
        "resourceClaimTemplateName": string("A template to make one from."),
    },
)

POD_SPEC = obj(
    "What the pod is to be.",
    {
        "containers": CONTAINERS,
        "initContainers": INIT_CONTAINERS,
        "ephemeralContainers": EPHEMERAL_CONTAINERS,
        "volumes": VOLUMES,
        "restartPolicy": choice(
            "Whether containers that end are started again.", "Always", "OnFailure", "Never", default="Always"
        ),
        "terminationGracePeriodSeconds": long(
            "Seconds between the request to end and the kill.", default=30, minimum=0
        ),
        "nodeName": string("The node it runs on; the scheduler sets it."),
        "nodeSelector": string_map("Labels the node must have."),
        "affinity": AFFINITY,
        "tolerations": array("Taints it bears.", TOLERATION),
        "topologySpreadConstraints": array(
            "How evenly pods are spread.", TOPOLOGY_SPREAD, "topologyKey,whenUnsatisfiable"
        ),
        "hostNetwork": boolean("Use the node's network instead of an address of its own."),
        "hostPID": boolean("See the node's processes.", acted=False),
        "hostIPC": boolean("Use the node's IPC.", acted=False),
        "hostUsers": boolean("False gives the pod its own user namespace.", acted=False, moot=(True,)),
        "shareProcessNamespace": boolean("Let the containers see each other's processes.", acted=False),
        "hostname": string("Host name in the pod; the pod's name where absent."),
        "hostnameOverride": string("Host name in the pod, domain and all.", acted=False),
        "subdomain": string("Domain below the cluster's, for its DNS name."),
        "setHostnameAsFQDN": boolean("Use the full DNS name as host name.", acted=False),
        "hostAliases": array("Lines added to /etc/hosts.", HOST_ALIAS, "ip"),
        "dnsPolicy": choice(
            "Where names are looked up.",
            "ClusterFirst",
            "ClusterFirstWithHostNet",
            "Default",
            "None",
            default="ClusterFirst",
        ),
        "dnsConfig": DNS_CONFIG,
        "securityContext": replace(POD_SECURITY_CONTEXT, default={}),
        "imagePullSecrets": array(
            "Secrets with registry credentials; those of the namespace's ktool.dev/image-pull-secrets where absent.",
            name_ref("A Secret."),
            "name",
        ),
        "serviceAccountName": string("Service account it acts as.", acted=False, moot=("default",)),
        "serviceAccount": string("Old name of serviceAccountName.", acted=False, moot=("default",)),
        "automountServiceAccountToken": boolean("Whether the account's token is mounted.", acted=False),
        "enableServiceLinks": boolean("Whether services appear as environment variables.", default=True, acted=False),
        "schedulerName": string("Scheduler that places it.", default="default-scheduler", acted=False),
        "schedulingGates": array(
            "While any is there the pod is not placed.",
            obj("One gate.", {"name": string("Its name.", required=True)}),
            "name",
        ),
        "priority": integer("Its priority as a number.", acted=False),
        "priorityClassName": string("Its priority by name.", acted=False),
        "preemptionPolicy": choice(
            "Whether it may displace pods of lower priority.",
            "PreemptLowerPriority",
            "Never",
            acted=False,
            moot=("PreemptLowerPriority", "Never"),
        ),
        "activeDeadlineSeconds": long("Seconds it may run before it is failed.", acted=False, minimum=1),
        "readinessGates": array(
            "Further conditions for Ready.",
            obj("One condition.", {"conditionType": string("Its type.", required=True)}),
            acted=False,
        ),
        "os": obj(
            "Operating system it needs.", {"name": choice("Which one; nodes run Linux.", "linux", required=True)}
        ),
        "overhead": quantities("What running it costs beside its containers.", acted=False),
        "runtimeClassName": string("Runtime class.", acted=False),
        "resources": replace(RESOURCES, doc="What all containers together need and may use.", acted=False),
        "resourceClaims": array("Resource claims its containers can use.", _RESOURCE_CLAIM, "name", acted=False),
        "workloadRef": Field("any", "The Workload it belongs to.", acted=False),
    },
    required=True,
)

POD_TEMPLATE = obj(
    "What each pod is made from.",
    {"metadata": replace(OBJECT_META, doc="Labels and annotations of each pod."), "spec": POD_SPEC},
    required=True,
)


def default_pod_spec(spec: Obj) -> Obj:
    """Fill in the defaults that depend on other fields, after those of the schema: imagePullPolicy from the image's
    tag, requests from limits, hostPort from hostNetwork. Returns `spec` itself where nothing changes."""
    changes: Obj = {}
    host_network = bool(spec.get("hostNetwork"))
    for member in CONTAINER_GROUPS:
        before = spec.get(member)
        if before:
            after = [default_container(container, host_network) for container in before]
            if any(new is not old for new, old in zip(after, before, strict=True)):
                changes[member] = after
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account and not account == spec.get("serviceAccountName") == spec.get("serviceAccount"):
        changes["serviceAccountName"] = changes["serviceAccount"] = account
    return {**spec, **changes} if changes else spec


def default_container(container: Obj, host_network: bool) -> Obj:
    """The same for one container."""
    changes: Obj = {}
    if not container.get("imagePullPolicy") and container.get("image"):
        changes["imagePullPolicy"] = "Always" if tag_of(container["image"]) == "latest" else "IfNotPresent"
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    if any(name not in requests for name in limits):
        changes["resources"] = {**resources, "requests": {**limits, **requests}}
    ports: list[dict[str, Any]] = container.get("ports") or []
    if host_network and any(not port.get("hostPort") for port in ports):
        changes["ports"] = [{**port, "hostPort": port["containerPort"]} for port in ports]
    return {**container, **changes} if changes else container


def tag_of(image: str) -> str:
    """The tag of an image reference: "latest" where it has none, "" where it has only a digest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or ("" if digest else "latest")
