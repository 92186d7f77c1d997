"""Well-known names: labels, annotations, finalizers, paths and address ranges that more than one module relies on.

A name is here when one module writes it and another reads it, or when it is ktool's own (`ktool.dev/`). Every layer
imports it; it imports nothing of ktool. Names that a user may set are documented with the kind that acts on them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

DOMAIN = "ktool.dev"
"""ktool's API group, and the prefix of all its labels and annotations."""

# --- nodes -------------------------------------------------------------------------------------------------------

CONNECTION = f"{DOMAIN}/connection"
"""Annotation of a Node: the ssh://, local:// or simulated:// URL it is reached at."""
IDENTITY = f"{DOMAIN}/identity"
"""Annotation of a Node: the file with the private key for its ssh:// URL."""
HOST_KEY = f"{DOMAIN}/host-key"
"""Annotation of a Node: the key its sshd has to show."""
SIMULATED = f"{DOMAIN}/simulated"
"""Label of simulated nodes: "true"."""
NODE_FINALIZER = f"{DOMAIN}/node"
"""Finalizer that keeps a Node until its machine is cleaned up; the node's loop removes it."""
LAB = f"{DOMAIN}/lab"
"""Label of the nodes of a lab: its name."""
MTU = f"{DOMAIN}/mtu"
"""Annotation of a Node: the largest packet its own link takes."""
NETWORK = f"{DOMAIN}/network"
"""Annotation of a Node: the modes it sends by now, and those it takes packets by."""
WIREGUARD_KEY = f"{DOMAIN}/wireguard-key"
"""Annotation of a Node: the public half of its key."""
WIREGUARD_PEERS = f"{DOMAIN}/wireguard-peers"
"""Annotation of a Node: the beginnings of the public keys of nodes it has talked to by WireGuard, and takes packets
from."""

# --- workloads, namespaces, secrets ------------------------------------------------------------------------------

DRAIN_SECONDS = f"{DOMAIN}/drain-seconds"
"""Annotation of pods: the drain time, for open connections to finish before the containers get SIGTERM."""
SINGLE_WRITER = f"{DOMAIN}/single-writer"
"""Annotation of a workload: its volumes have one writer, so an old pod ends before a new one begins."""
RESOLVED_IMAGES = f"{DOMAIN}/images"
"""Annotation of a ReplicaSet and of its pods: image -> the same one by digest, as JSON."""
COMPLETE = f"{DOMAIN}/complete"
"""Annotation of a ReplicaSet: when its revision was rolled out completely for the first time."""
ROLLBACK_ON_FAILURE = f"{DOMAIN}/rollback-on-failure"
"""Annotation of a Deployment that wants this: "true"."""
RESTART_ON_CONFIG_CHANGE = f"{DOMAIN}/restart-on-config-change"
"""Annotation of a workload that wants this: "true"."""
CONFIG_HASH = f"{DOMAIN}/config-hash"
"""Annotation of a pod template: the content of all ConfigMaps and Secrets that its pods read."""
FAILED_CONFIG_HASH = f"{DOMAIN}/failed-config-hash"
"""Annotation of a workload that went back from a rollout: the content it failed with. That is not tried again."""
PULL_SECRETS = f"{DOMAIN}/image-pull-secrets"
"""Annotation of a Namespace: the pull secrets of pods that name none."""
SEALING_KEY_TYPE = f"{DOMAIN}/sealing-key"
"""Type of the Secret that holds the cluster's private key for SealedSecrets."""

# --- what a pod is known by on its node --------------------------------------------------------------------------

POD_CLUSTER = f"{DOMAIN}/cluster"
"""Podman label with the cluster id on everything ktool makes. Objects without it are never touched."""
POD_UID = f"{DOMAIN}/uid"
POD_NAMESPACE = f"{DOMAIN}/namespace"
POD_NAME = f"{DOMAIN}/pod"
POD_HASH = f"{DOMAIN}/hash"
"""Podman label of a pod: the hash of all that it was made from."""
POD_IP = f"{DOMAIN}/ip"
CONTAINER = f"{DOMAIN}/container"
"""Podman label of a container: its name in the pod."""

VOLUMES_ON_DISK, VOLUMES_IN_MEMORY = "/var/lib/ktool/pods", "/run/ktool/pods"
"""Directory of pods' volumes on a node: files lie in uid/volumes/volume/..stamp below it."""
OWNER_FILE = "/var/lib/ktool/owner"
"""File with the cluster that a machine belongs to."""
ZONE_DIRECTORY = "/run/ktool/dns"
"""Directory of the configuration of a node's DNS servers."""
WIREGUARD_KEY_FILE = "/var/lib/ktool/wireguard.key"

# --- the API -----------------------------------------------------------------------------------------------------

APPLY_PATH = f"/apis/{DOMAIN}/v1/apply"
"""URL path for applying several objects in one transaction."""
SEALED_VERSION = f"{DOMAIN}/v1alpha1"
"""apiVersion of SealedSecrets."""

# --- address ranges ----------------------------------------------------------------------------------------------

POD_CIDR = "10.244.0.0/16"
"""The addresses of the cluster's pods; a node has a /24 of it."""
SIMULATED_CIDR = "100.64.0.0/10"
"""Simulated nodes have no network and hold up to 1,000 pods: their subnets come from a range of their own (shared
address space, RFC 6598), so that they use up none of the real one."""
SERVICE_CIDR = IPv4Network("10.96.0.0/16")
CLUSTER_DNS = IPv4Address("10.96.0.10")
"""The address at which every pod finds the name server of its own node."""

# --- kubectl's ---------------------------------------------------------------------------------------------------

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which `apply` remembers the manifest."""
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""Annotation of a pod template by which a workload is restarted: another time makes another template."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""Annotation of a pod: the container that `logs` and `exec` mean."""

# --- Kubernetes' well-known names --------------------------------------------------------------------------------
# kubernetes.io/docs/reference/labels-annotations-taints

HOSTNAME = "kubernetes.io/hostname"
OS, ARCHITECTURE = "kubernetes.io/os", "kubernetes.io/arch"
ZONE = "topology.kubernetes.io/zone"
ROLE, ROLE_PREFIX = "kubernetes.io/role", "node-role.kubernetes.io/"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
UNREACHABLE, NOT_READY = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label of every Namespace: its own name, for selectors."""
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: whose endpoints it holds."""
SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
CHANGE_CAUSE = "kubernetes.io/change-cause"
"""Annotation of a Deployment and its ReplicaSets: why a revision was made."""
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
"""Annotation of a ReplicaSet: the numbers it had before a rollback gave it the present one."""
DESIRED_REPLICAS, MAX_REPLICAS = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"
"""The Deployment's replicas when it sized a ReplicaSet last; a different number now means that it was scaled."""
TEMPLATE_HASH = "pod-template-hash"
"""Label of a Deployment's ReplicaSets and their pods."""
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: those that cost less go first when a ReplicaSet shrinks."""
