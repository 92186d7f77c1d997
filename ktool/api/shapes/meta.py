"""meta/v1: field trees of ObjectMeta, LabelSelector and Condition, and `resource`, the frame of every schema. kinds/
uses it.
"""

from __future__ import annotations

from dataclasses import replace

from ktool.api.schema import Field
from ktool.api.shapes.build import array, boolean, choice, integer, long, obj, string, string_map, strings, time

OWNER_REFERENCE = obj(
    "An object this one belongs to; it is collected when all its owners are gone.",
    {
        "apiVersion": string("API version of the owner.", required=True),
        "kind": string("Kind of the owner.", required=True),
        "name": string("Name of the owner.", required=True),
        "uid": string("UID of the owner.", required=True),
        "controller": boolean("True for the one owner that controls this object."),
        "blockOwnerDeletion": boolean("With foreground deletion, the owner stays until this object is gone."),
    },
)

OBJECT_META = obj(
    "Name, namespace, labels and what the system records about the object.",
    {
        "name": string("Name, unique among the objects of its kind in its namespace."),
        "generateName": string("Beginning of a name that the server completes where `name` is not given."),
        "namespace": string("Namespace the object is in; empty for kinds of the whole cluster."),
        "labels": string_map("Keys and values by which selectors find the object."),
        "annotations": string_map("Keys and values for tools; nothing selects by them."),
        "finalizers": strings("What must be done before a deleted object may go.", format="set"),
        "ownerReferences": array("Objects this one belongs to.", OWNER_REFERENCE, "uid"),
        "uid": string("Identity of this very object, never given twice.", read_only=True),
        "resourceVersion": string("Changes with every write; sent back with an update it guards against lost changes."),
        "generation": long("Counts the changes of the spec.", read_only=True),
        "creationTimestamp": time("When the object was created.", read_only=True),
        "deletionTimestamp": time("When the object goes; set while it is being deleted.", read_only=True),
        "deletionGracePeriodSeconds": long("Seconds it was given to end.", read_only=True),
        "selfLink": string("No longer filled by Kubernetes.", read_only=True),
        "managedFields": array("Who set which field; ktool keeps no such record.", Field("any"), read_only=True),
    },
)

SELECTOR_REQUIREMENT = obj(
    "One condition on one label.",
    {
        "key": string("Label key it is about.", required=True),
        "operator": choice("How the values are compared.", "In", "NotIn", "Exists", "DoesNotExist", required=True),
        "values": strings("Values for In and NotIn; none for the others."),
    },
)

LABEL_SELECTOR = obj(
    "Which objects are meant, by their labels; all conditions must hold, an empty selector means every object.",
    {
        "matchLabels": string_map("Labels that must have exactly these values."),
        "matchExpressions": array("Further conditions on labels.", SELECTOR_REQUIREMENT),
    },
)

CONDITION = obj(
    "One aspect of the object's state.",
    {
        "type": string("Name of the aspect.", required=True),
        "status": choice("Whether it holds.", "True", "False", "Unknown", required=True),
        "reason": string("One word for why."),
        "message": string("A sentence for people."),
        "lastTransitionTime": time("When `status` changed last."),
        "lastUpdateTime": time("When the condition was last written."),
        "lastProbeTime": time("When the condition was last looked at."),
        "lastHeartbeatTime": time("When the node last reported."),
        "observedGeneration": long("The metadata.generation it was judged for."),
    },
)

CONDITIONS = array("The object's state, aspect by aspect.", CONDITION, "type")

OBJECT_REFERENCE = obj(
    "Names another object (core/v1 ObjectReference).",
    {
        "apiVersion": string("API version of the object."),
        "kind": string("Kind of the object."),
        "namespace": string("Its namespace."),
        "name": string("Its name."),
        "uid": string("Its UID."),
        "resourceVersion": string("The version of it that is meant."),
        "fieldPath": string("The part of it that is meant, such as spec.containers{web}."),
    },
)

LIST_META = obj(
    "What a list says about itself.",
    {
        "resourceVersion": string("State of the store the list was read at; watch from here."),
        "continue": string("Where the next part of a long list begins."),
        "remainingItemCount": integer("How many items are left."),
        "selfLink": string("No longer filled by Kubernetes."),
    },
)


def resource(spec: Field | None = None, status: Field | None = None, **extra: Field) -> Field:
    """The schema of a kind: apiVersion, kind, metadata, spec and status where it has them, then other top-level members
    such as a ConfigMap's `data`. The status is read-only."""
    fields: dict[str, Field] = {
        "apiVersion": string("Group and version of the schema this object follows.", required=True),
        "kind": string("Kind of the object.", required=True),
        "metadata": replace(OBJECT_META, required=True),
    }
    if spec is not None:
        fields["spec"] = spec
    fields.update(extra)
    if status is not None:
        fields["status"] = replace(status, read_only=True)
    return Field("object", fields=fields)
