"""core/v1 pod placement: field trees of affinity, tolerations and topology spread constraints. shapes/podspec includes
them.
"""

from __future__ import annotations

from dataclasses import replace

from ktool.api.shapes.build import array, choice, integer, long, obj, string, strings
from ktool.api.shapes.meta import LABEL_SELECTOR

_NODE_REQUIREMENT = obj(
    "One condition on one label or field of the node.",
    {
        "key": string("Label key, or metadata.name in matchFields.", required=True),
        "operator": choice(
            "How the values are compared; Gt and Lt compare one whole number.",
            "In",
            "NotIn",
            "Exists",
            "DoesNotExist",
            "Gt",
            "Lt",
            required=True,
        ),
        "values": strings("Values to compare with."),
    },
)
NODE_SELECTOR_TERM = obj(
    "Conditions that must hold together; an empty term matches no node.",
    {
        "matchExpressions": array("On the node's labels.", _NODE_REQUIREMENT),
        "matchFields": array("On the node's fields.", _NODE_REQUIREMENT),
    },
)
NODE_SELECTOR = obj(
    "Which nodes; one of the terms is enough.",
    {"nodeSelectorTerms": array("The terms.", NODE_SELECTOR_TERM, required=True)},
)
NODE_AFFINITY = obj(
    "By the node itself.",
    {
        "requiredDuringSchedulingIgnoredDuringExecution": NODE_SELECTOR,
        "preferredDuringSchedulingIgnoredDuringExecution": array(
            "Wishes; the node with the greatest sum of weights is best.",
            obj(
                "One wish.",
                {
                    "weight": integer("How much it counts.", required=True, minimum=1, maximum=100),
                    "preference": replace(NODE_SELECTOR_TERM, required=True),
                },
            ),
        ),
    },
)
POD_AFFINITY_TERM = obj(
    "Pods near which (or away from which) this pod should run.",
    {
        "topologyKey": string("Node label; nodes with the same value of it count as one place.", required=True),
        "labelSelector": LABEL_SELECTOR,
        "namespaces": strings("Namespaces of those pods; this pod's own where absent."),
        "namespaceSelector": replace(LABEL_SELECTOR, doc="Further namespaces, by their labels."),
        "matchLabelKeys": strings("Labels whose value is taken from this pod and must be equal."),
        "mismatchLabelKeys": strings("Labels whose value is taken from this pod and must differ."),
    },
)
_POD_WISHES = array(
    "Wishes; they count by their weight.",
    obj(
        "One wish.",
        {
            "weight": integer("How much it counts.", required=True, minimum=1, maximum=100),
            "podAffinityTerm": replace(POD_AFFINITY_TERM, required=True),
        },
    ),
)
_POD_DEMANDS = array("Must hold when the pod is placed.", POD_AFFINITY_TERM)
POD_AFFINITY = obj(
    "Near other pods.",
    {
        "requiredDuringSchedulingIgnoredDuringExecution": _POD_DEMANDS,
        "preferredDuringSchedulingIgnoredDuringExecution": _POD_WISHES,
    },
)
AFFINITY = obj(
    "Which nodes the pod must or should run on.",
    {
        "nodeAffinity": NODE_AFFINITY,
        "podAffinity": POD_AFFINITY,
        "podAntiAffinity": replace(POD_AFFINITY, doc="Away from other pods."),
    },
)
TOLERATION = obj(
    "A taint the pod bears.",
    {
        "key": string("Key of the taint; with operator Exists and no key, every taint."),
        "operator": choice("Equal compares the value, Exists does not.", "Exists", "Equal"),
        "value": string("Value of the taint, for Equal."),
        "effect": choice("Which effect; all where absent.", "", "NoSchedule", "PreferNoSchedule", "NoExecute"),
        "tolerationSeconds": long("How long a NoExecute taint is borne; for ever where absent."),
    },
)
TOPOLOGY_SPREAD = obj(
    "How evenly pods are spread over places.",
    {
        "maxSkew": integer("Largest difference between two places.", required=True, minimum=1),
        "topologyKey": string("Node label; nodes with the same value of it count as one place.", required=True),
        "whenUnsatisfiable": choice(
            "Whether the pod waits or is placed anyway.", "DoNotSchedule", "ScheduleAnyway", required=True
        ),
        "labelSelector": LABEL_SELECTOR,
        "minDomains": integer("Places there must be at least.", minimum=1),
        "nodeAffinityPolicy": choice("Whether nodes that nodeAffinity rules out are counted.", "Honor", "Ignore"),
        "nodeTaintsPolicy": choice("Whether tainted nodes are left out.", "Honor", "Ignore"),
        "matchLabelKeys": strings("Labels whose value is taken from this pod and must be equal."),
    },
)
