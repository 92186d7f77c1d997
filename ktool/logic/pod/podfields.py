"""Pod fields with their defaults, and the names derived from them: Podman's pod and container names, image names.

kinds/pod and logic/ call it.
"""

from __future__ import annotations

from ktool.api.obj import Obj, get, name, namespace, uid
from ktool.logic.workload import digests

GRACE = 30
"""Seconds between SIGTERM and SIGKILL where a Pod does not say."""


def pod_name(pod: Obj) -> str:
    """The name of the Podman pod: readable in `podman pod ps`, and unique per uid."""
    return f"{name(pod)}_{namespace(pod)}_{uid(pod)[:8]}"


def container_name(container: str, pod: Obj) -> str:
    return f"{container}_{pod_name(pod)}"


def image_name(text: str) -> str:
    """The fully qualified name of an image: docker.io and `latest` are Kubernetes' defaults, whatever a node's
    registries.conf says. https://kubernetes.io/docs/concepts/containers/images/#image-names"""
    first, slash, _ = text.partition("/")
    if not slash or not (first == "localhost" or "." in first or ":" in first):
        text = f"docker.io/{text if slash else 'library/' + text}"
    last = text.rpartition("/")[2]
    return text if ":" in last or "@" in text else f"{text}:latest"


def image_of(pod: Obj, container: Obj) -> str:
    """The image to create a container from: by its recorded digest, else by its full name."""
    text = str(container.get("image", ""))
    return digests.pinned(pod, text) or image_name(text)


def pull_policy(pod: Obj, container: Obj) -> str:
    """imagePullPolicy, or its default: Always for `latest`, else IfNotPresent. An image with a recorded digest cannot
    have changed."""
    image = image_name(str(container.get("image", "")))
    fallback = "Always" if image.endswith(":latest") and "@" not in image else "IfNotPresent"
    policy = str(container.get("imagePullPolicy") or fallback)
    return "IfNotPresent" if policy == "Always" and image_of(pod, container) != image else policy


def host_network(pod: Obj) -> bool:
    return bool(get(pod, "spec", "hostNetwork", default=False))


def grace_period(pod: Obj) -> int:
    return int(get(pod, "spec", "terminationGracePeriodSeconds", default=GRACE))


def hostname(pod: Obj) -> str:
    return str(get(pod, "spec", "hostname", default="") or name(pod)[:63].rstrip("-."))
