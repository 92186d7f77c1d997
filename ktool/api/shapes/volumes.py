"""core/v1 Volume: field trees of volumes and of the sources ktool acts on. shapes/podspec and shapes/container include
them.
"""

from __future__ import annotations

from ktool.api.schema import Field
from ktool.api.shapes.build import (
    array,
    boolean,
    choice,
    integer,
    long,
    obj,
    quantities,
    quantity,
    string,
    strings,
)
from ktool.api.shapes.meta import LABEL_SELECTOR
from ktool.api.shapes.volumes_other import OTHER_SOURCES

MODE = {"minimum": 0, "maximum": 0o777}

KEY_TO_PATH = obj(
    "One key and the file it becomes.",
    {
        "key": string("Key to take.", required=True),
        "path": string("File in the volume, relative and without '..'.", required=True),
        "mode": integer("Permission bits of the file, between 0 and 0777 (511 in decimal).", **MODE),
    },
)
ITEMS = array("The keys to take and where to put them; without it every key becomes a file of its name.", KEY_TO_PATH)

OBJECT_FIELD_SELECTOR = obj(
    "A field of the pod itself.",
    {
        "apiVersion": string("Schema version the path is written for.", default="v1"),
        "fieldPath": string("Path of the field, such as metadata.name or status.podIP.", required=True),
    },
)
RESOURCE_FIELD_SELECTOR = obj(
    "A resource request or limit of a container.",
    {
        "containerName": string("The container; in an environment variable, the one it is set in."),
        "resource": string("The resource, such as limits.cpu or requests.memory.", required=True),
        "divisor": quantity("Unit the value is given in, 1 where absent."),
    },
)

EMPTY_DIR = obj(
    "An empty directory that lives as long as the pod.",
    {
        "medium": string('Where it is kept: "" on the disk of the node, Memory in a tmpfs.'),
        "sizeLimit": quantity("How much it may hold."),
    },
)
HOST_PATH = obj(
    "A path of the node itself.",
    {
        "path": string("Path on the node.", required=True),
        "type": choice(
            "What must be there before the pod starts; the OrCreate types make it.",
            "",
            "DirectoryOrCreate",
            "Directory",
            "FileOrCreate",
            "File",
            "Socket",
            "CharDevice",
            "BlockDevice",
            default="",
        ),
    },
)
CONFIG_MAP = obj(
    "The keys of a ConfigMap as files.",
    {
        "name": string("The ConfigMap, in the pod's namespace.", required=True),
        "items": ITEMS,
        "defaultMode": integer("Permission bits of files that give none.", default=0o644, **MODE),
        "optional": boolean("Whether the pod may start where the ConfigMap or a key is missing."),
    },
)
SECRET = obj(
    "The keys of a Secret as files.",
    {
        "secretName": string("The Secret, in the pod's namespace."),
        "items": ITEMS,
        "defaultMode": integer("Permission bits of files that give none.", default=0o644, **MODE),
        "optional": boolean("Whether the pod may start where the Secret or a key is missing."),
    },
)
PERSISTENT_VOLUME_CLAIM = obj(
    "Storage that outlives the pod, by its claim.",
    {
        "claimName": string("The PersistentVolumeClaim, in the pod's namespace.", required=True),
        "readOnly": boolean("Mount it read-only everywhere."),
    },
    acted=False,
)

_DOWNWARD_FILE = obj(
    "One file with a fact about the pod.",
    {
        "path": string("File in the volume.", required=True),
        "fieldRef": OBJECT_FIELD_SELECTOR,
        "resourceFieldRef": RESOURCE_FIELD_SELECTOR,
        "mode": integer("Permission bits of the file.", **MODE),
    },
)
_DOWNWARD_ITEMS = array("The files.", _DOWNWARD_FILE)
_PROJECTED_NAME = string("Name of the object, in the pod's namespace.")
_PROJECTED_OPTIONAL = boolean("Whether the pod may start where it is missing.")
PROJECTED = obj(
    "Several sources in one directory.",
    {
        "defaultMode": integer("Permission bits of files that give none.", default=0o644, **MODE),
        "sources": array(
            "What is put together.",
            obj(
                "One source.",
                {
                    "configMap": obj(
                        "Keys of a ConfigMap.",
                        {"name": _PROJECTED_NAME, "items": ITEMS, "optional": _PROJECTED_OPTIONAL},
                    ),
                    "secret": obj(
                        "Keys of a Secret.", {"name": _PROJECTED_NAME, "items": ITEMS, "optional": _PROJECTED_OPTIONAL}
                    ),
                    "downwardAPI": obj("Facts about the pod.", {"items": _DOWNWARD_ITEMS}),
                    "serviceAccountToken": obj(
                        "A token of the pod's service account.",
                        {
                            "audience": string("Who the token is for."),
                            "expirationSeconds": long("Seconds it lasts.", default=3600),
                            "path": string("File in the volume.", required=True),
                        },
                        acted=False,
                    ),
                    "podCertificate": Field("any", "A key and a certificate for it.", acted=False),
                    "clusterTrustBundle": obj(
                        "Certificates to trust.",
                        {
                            "name": string("One bundle by name."),
                            "signerName": string("All bundles of a signer."),
                            "labelSelector": LABEL_SELECTOR,
                            "optional": _PROJECTED_OPTIONAL,
                            "path": string("File in the volume.", required=True),
                        },
                        acted=False,
                    ),
                },
            ),
        ),
    },
)

_CLAIM_SPEC = obj(
    "What storage is asked for.",
    {
        "accessModes": strings("How many nodes may mount it, and how."),
        "selector": LABEL_SELECTOR,
        "resources": obj("How much.", {"limits": quantities("At most."), "requests": quantities("At least.")}),
        "volumeName": string("One volume by name."),
        "storageClassName": string("Class of storage."),
        "volumeAttributesClassName": string("Class of attributes."),
        "volumeMode": string("Filesystem or Block."),
        "dataSource": obj(
            "What it is filled from.",
            {"apiGroup": string("API group."), "kind": string("Kind."), "name": string("Name.")},
        ),
        "dataSourceRef": obj(
            "What it is filled from, in any namespace.",
            {
                "apiGroup": string("API group."),
                "kind": string("Kind."),
                "name": string("Name."),
                "namespace": string("Namespace."),
            },
        ),
    },
)
EPHEMERAL = obj(
    "Storage made for this pod and removed with it.",
    {
        "volumeClaimTemplate": obj(
            "The claim to make.", {"metadata": Field("any", "Labels and annotations of it."), "spec": _CLAIM_SPEC}
        )
    },
    acted=False,
)

SOURCES: dict[str, Field] = {
    "emptyDir": EMPTY_DIR,
    "hostPath": HOST_PATH,
    "configMap": CONFIG_MAP,
    "secret": SECRET,
    "persistentVolumeClaim": PERSISTENT_VOLUME_CLAIM,
    "projected": PROJECTED,
    "ephemeral": EPHEMERAL,
    "downwardAPI": obj(
        "Facts about the pod as files.",
        {
            "items": _DOWNWARD_ITEMS,
            "defaultMode": integer("Permission bits of files that give none.", default=0o644, **MODE),
        },
    ),
    **OTHER_SOURCES,
}
"""The members of a Volume of which exactly one is set."""

VOLUME = obj(
    "A directory that containers of the pod can mount.",
    {"name": string("Name that volumeMounts refer to.", required=True), **SOURCES},
    retain_keys=True,
)
VOLUMES = array("Directories that the containers can mount.", VOLUME, "name")
