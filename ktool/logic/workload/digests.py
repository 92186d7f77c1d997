"""Image digests of revisions: the digests that a ReplicaSet's pods really ran, so that a moved tag does not change a
rollback.

The Deployment controller and logic/pod/podfields use it. A ReplicaSet records the digest of each image once its first
pods have pulled it, and passes the record to the pods it makes from then on: a rollback runs what ran before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ktool.api.marks import RESOLVED_IMAGES
from ktool.api.obj import Obj, annotations_of, get, name
from ktool.api.pod import containers_in, statuses_of

_BY_DIGEST = "@sha256:"


def recorded(obj: Obj) -> dict[str, str]:
    try:
        found = json.loads(annotations_of(obj).get(RESOLVED_IMAGES, "{}"))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def text(images: Mapping[str, str]) -> str:
    return json.dumps(dict(images), sort_keys=True, separators=(",", ":"))


def pinned(pod: Obj, image: str) -> str:
    """The image by its recorded digest; "" where none is recorded."""
    found = recorded(pod).get(image, "") if RESOLVED_IMAGES in annotations_of(pod) else ""
    return found if _BY_DIGEST in found else ""


def seen(replica_set: Obj, pods: Iterable[Obj]) -> dict[str, str]:
    """The record of a ReplicaSet, completed with the images of its pods. Where two pods have pulled a tag that was
    moved in between, the first pod by name decides."""
    found = recorded(replica_set)
    spec = get(replica_set, "spec", "template", "spec", default={})
    wanted = {image for image in _images(spec).values() if image not in found and "@" not in image}
    if not wanted:
        return found
    for pod in sorted(pods, key=name):
        images = _images(pod.get("spec") or {})
        for status in statuses_of(pod):
            image, digest = images.get(status["name"], ""), str(status.get("imageID", ""))
            if image in wanted and _BY_DIGEST in digest and not digest.startswith("localhost/"):
                found.setdefault(image, digest)
    return found


def _images(spec: Obj) -> dict[str, str]:
    """Container name -> image."""
    return {str(one.get("name", "")): str(one.get("image", "")) for one in containers_in(spec)}
