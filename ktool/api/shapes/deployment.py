"""apps/v1 Deployment: the field trees of its spec and status. kinds/deployment uses them."""

from __future__ import annotations

from ktool.api.shapes.build import boolean, choice, int_or_string, integer, obj
from ktool.api.shapes.meta import CONDITIONS, LABEL_SELECTOR, resource
from ktool.api.shapes.podspec import POD_TEMPLATE

_STRATEGY = obj(
    "How new pods take the place of old ones.",
    {
        "type": choice(
            "RollingUpdate goes step by step; Recreate ends all old pods first.",
            "RollingUpdate",
            "Recreate",
            default="RollingUpdate",
        ),
        "rollingUpdate": obj(
            "How far a rolling update may leave the wanted number.",
            {
                "maxSurge": int_or_string("Pods above it; a percentage rounds up."),
                "maxUnavailable": int_or_string("Pods below it; a percentage rounds down."),
            },
        ),
    },
    default={},
    retain_keys=True,  # another type must not find the rollingUpdate of the old one
)

SCHEMA = resource(
    spec=obj(
        "The pods wanted and how to get from the present ones to them.",
        {
            "replicas": integer("The wanted number of pods.", default=1, minimum=0),
            "selector": LABEL_SELECTOR,
            "template": POD_TEMPLATE,
            "strategy": _STRATEGY,
            "minReadySeconds": integer(
                "Seconds a new pod must be Ready before it counts as available.", default=0, minimum=0
            ),
            "revisionHistoryLimit": integer("Old ReplicaSets to keep for a rollback.", default=10, minimum=0),
            "paused": boolean("While true a changed template starts no rollout."),
            "progressDeadlineSeconds": integer(
                "Seconds without progress after which the rollout is said to have failed.", default=600, minimum=0
            ),
        },
        required=True,
    ),
    status=obj(
        "How far the rollout is.",
        {
            "observedGeneration": integer("The generation this status was computed from.", format="int64"),
            "replicas": integer("Pods of all its ReplicaSets."),
            "updatedReplicas": integer("Pods of the present template."),
            "readyReplicas": integer("Pods that are Ready."),
            "availableReplicas": integer("Pods that have been Ready for minReadySeconds."),
            "unavailableReplicas": integer("Pods still missing to the wanted availability."),
            "terminatingReplicas": integer("Pods that are being ended.", acted=False),
            "collisionCount": integer("Hash collisions met when naming a ReplicaSet."),
            "conditions": CONDITIONS,
        },
    ),
)
