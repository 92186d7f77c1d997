"""GroupKinds of the workload kinds that own pods. The Deployment controller and its parts use them."""

from ktool.api.ref import GroupKind

DEPLOYMENT = GroupKind("apps", "Deployment")
REPLICA_SET = GroupKind("apps", "ReplicaSet")
