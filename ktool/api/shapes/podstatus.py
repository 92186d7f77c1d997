"""core/v1 PodStatus: its field tree, read-only for users. kinds/pod uses it."""

from __future__ import annotations

from dataclasses import replace

from ktool.api.schema import Field
from ktool.api.shapes.build import array, boolean, choice, integer, long, obj, quantities, string, time
from ktool.api.shapes.container import RESOURCES
from ktool.api.shapes.meta import CONDITIONS

_TERMINATED = obj(
    "It has ended.",
    {
        "exitCode": integer("Exit code of the process."),
        "signal": integer("Signal that ended it."),
        "reason": string("One word for why, such as Completed, Error or OOMKilled."),
        "message": string("A sentence for people."),
        "startedAt": time("When it started."),
        "finishedAt": time("When it ended."),
        "containerID": string("The container it was."),
    },
)
CONTAINER_STATE = obj(
    "One of waiting, running and terminated.",
    {
        "waiting": obj(
            "It has not started yet.",
            {"reason": string("One word for why, such as ImagePullBackOff."), "message": string("A sentence.")},
        ),
        "running": obj("It runs.", {"startedAt": time("Since when.")}),
        "terminated": _TERMINATED,
    },
)
CONTAINER_STATUS = obj(
    "The state of one container.",
    {
        "name": string("Name of the container.", required=True),
        "state": CONTAINER_STATE,
        "lastState": replace(CONTAINER_STATE, doc="How it ended the last time."),
        "ready": boolean("Whether its readiness probe succeeds."),
        "started": boolean("Whether its startup probe has succeeded."),
        "restartCount": integer("How often it was started again.", minimum=0),
        "image": string("Image it runs."),
        "imageID": string("The very image, by its id."),
        "containerID": string("The very container: podman://ID."),
        "allocatedResources": quantities("Resources set aside for it."),
        "resources": RESOURCES,
        "volumeMounts": array("Its mounts.", Field("any")),
        "user": Field("any", "User it runs as."),
        "stopSignal": string("Signal that ends it."),
        "allocatedResourcesStatus": array("State of its devices.", Field("any")),
    },
)
_IP = obj("One address.", {"ip": string("The address.")})

POD_STATUS = obj(
    "What is known about the pod.",
    {
        "phase": choice("Where it is in its life.", "Pending", "Running", "Succeeded", "Failed", "Unknown"),
        "conditions": CONDITIONS,
        "reason": string("One word for why it is so, such as Evicted."),
        "message": string("A sentence for people."),
        "hostIP": string("Address of its node."),
        "hostIPs": array("Addresses of its node.", _IP),
        "podIP": string("Its address."),
        "podIPs": array("Its addresses.", _IP, "ip"),
        "startTime": time("When the node took it up."),
        "containerStatuses": array("State of each container.", CONTAINER_STATUS, "name"),
        "initContainerStatuses": array("State of each init container.", CONTAINER_STATUS, "name"),
        "ephemeralContainerStatuses": array("State of each ephemeral container.", CONTAINER_STATUS, "name"),
        "qosClass": choice("By requests and limits.", "Guaranteed", "Burstable", "BestEffort"),
        "nominatedNodeName": string("Node where room is being made for it."),
        "observedGeneration": long("The metadata.generation this is about."),
        "resize": string("State of a change of resources."),
        "resourceClaimStatuses": array("State of its resource claims.", Field("any")),
        "extendedResourceClaimStatus": Field("any", "Claims made for extended resources."),
        "allocatedResources": quantities("Resources set aside for the pod."),
        "resources": RESOURCES,
    },
    read_only=True,
)
