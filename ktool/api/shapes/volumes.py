"""core/v1 Volume and its many sources."""

from __future__ import annotations

from collections.abc import Mapping

from ktool.api.schema import Field
from ktool.api.shapes.build import (
    INT32_MAX,
    array,
    boolean,
    choice,
    integer,
    long,
    name_ref,
    obj,
    quantities,
    quantity,
    string,
    string_map,
    strings,
)
from ktool.api.shapes.meta import LABEL_SELECTOR

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
    acted=False,
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
                    ),
                    "clusterTrustBundle": obj(
                        "Certificates to trust.",
                        {
                            "name": string("One bundle by name."),
                            "signerName": string("All bundles of a signer."),
                            "labelSelector": LABEL_SELECTOR,
                            "optional": _PROJECTED_OPTIONAL,
                            "path": string("File in the volume.", required=True),
                        },
                    ),
                },
            ),
        ),
    },
    acted=False,
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

_FS_TYPE = string("Filesystem type, such as ext4.")
_READ_ONLY = boolean("Mount it read-only.")
_SECRET_REF = name_ref("Secret with the credentials.")


def _source(doc: str, fields: Mapping[str, Field]) -> Field:
    """A source that ktool knows by its shape only."""
    return obj(doc, fields, acted=False)


OTHER_SOURCES: dict[str, Field] = {
    "nfs": _source(
        "A directory exported by an NFS server.",
        {
            "server": string("Host name or address of the server.", required=True),
            "path": string("Exported path.", required=True),
            "readOnly": _READ_ONLY,
        },
    ),
    "csi": _source(
        "Storage by a CSI driver.",
        {
            "driver": string("Name of the driver.", required=True),
            "fsType": _FS_TYPE,
            "nodePublishSecretRef": _SECRET_REF,
            "readOnly": _READ_ONLY,
            "volumeAttributes": string_map("Settings for the driver."),
        },
    ),
    "image": _source(
        "The files of an image.",
        {
            "reference": string("The image."),
            "pullPolicy": choice("When it is pulled.", "Always", "Never", "IfNotPresent"),
        },
    ),
    "downwardAPI": _source(
        "Facts about the pod as files.",
        {
            "items": _DOWNWARD_ITEMS,
            "defaultMode": integer("Permission bits of files that give none.", default=0o644, **MODE),
        },
    ),
    "iscsi": _source(
        "An iSCSI disk.",
        {
            "chapAuthDiscovery": boolean("CHAP for discovery."),
            "chapAuthSession": boolean("CHAP for the session."),
            "fsType": _FS_TYPE,
            "initiatorName": string("Name of the initiator."),
            "iqn": string("Name of the target.", required=True),
            "iscsiInterface": string("Interface it is reached by."),
            "lun": integer("Number of the unit.", required=True, minimum=0, maximum=255),
            "portals": strings("Further portals."),
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
            "targetPortal": string("Address of the target.", required=True),
        },
    ),
    "fc": _source(
        "A Fibre Channel disk.",
        {
            "fsType": _FS_TYPE,
            "lun": integer("Number of the unit.", minimum=0, maximum=INT32_MAX),
            "readOnly": _READ_ONLY,
            "targetWWNs": strings("Names of the targets."),
            "wwids": strings("Identifiers of the disk."),
        },
    ),
    "cephfs": _source(
        "A Ceph filesystem.",
        {
            "monitors": strings("Addresses of the monitors.", required=True),
            "path": string("Directory inside it."),
            "readOnly": _READ_ONLY,
            "secretFile": string("File with the key."),
            "secretRef": _SECRET_REF,
            "user": string("Ceph user."),
        },
    ),
    "rbd": _source(
        "A Ceph block device.",
        {
            "fsType": _FS_TYPE,
            "image": string("Image.", required=True),
            "keyring": string("Path of the keyring."),
            "monitors": strings("Addresses of the monitors.", required=True),
            "pool": string("Pool."),
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
            "user": string("Ceph user."),
        },
    ),
    "glusterfs": _source(
        "A Gluster volume.",
        {
            "endpoints": string("Endpoints of the servers.", required=True),
            "path": string("Volume.", required=True),
            "readOnly": _READ_ONLY,
        },
    ),
    "gitRepo": _source(
        "A git repository, cloned when the pod starts.",
        {
            "directory": string("Directory to clone into."),
            "repository": string("URL.", required=True),
            "revision": string("Commit."),
        },
    ),
    "awsElasticBlockStore": _source(
        "A disk of AWS.",
        {
            "fsType": _FS_TYPE,
            "partition": integer("Partition."),
            "readOnly": _READ_ONLY,
            "volumeID": string("Disk.", required=True),
        },
    ),
    "gcePersistentDisk": _source(
        "A disk of GCE.",
        {
            "fsType": _FS_TYPE,
            "partition": integer("Partition."),
            "pdName": string("Disk.", required=True),
            "readOnly": _READ_ONLY,
        },
    ),
    "azureDisk": _source(
        "A disk of Azure.",
        {
            "cachingMode": string("Caching."),
            "diskName": string("Disk.", required=True),
            "diskURI": string("Its URI.", required=True),
            "fsType": _FS_TYPE,
            "kind": string("Shared, Dedicated or Managed."),
            "readOnly": _READ_ONLY,
        },
    ),
    "azureFile": _source(
        "A file share of Azure.",
        {
            "readOnly": _READ_ONLY,
            "secretName": string("Secret with the account.", required=True),
            "shareName": string("Share.", required=True),
        },
    ),
    "cinder": _source(
        "A disk of OpenStack.",
        {
            "fsType": _FS_TYPE,
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
            "volumeID": string("Disk.", required=True),
        },
    ),
    "vsphereVolume": _source(
        "A disk of vSphere.",
        {
            "fsType": _FS_TYPE,
            "storagePolicyID": string("Policy id."),
            "storagePolicyName": string("Policy."),
            "volumePath": string("Path.", required=True),
        },
    ),
    "portworxVolume": _source(
        "A Portworx volume.",
        {"fsType": _FS_TYPE, "readOnly": _READ_ONLY, "volumeID": string("Volume.", required=True)},
    ),
    "scaleIO": _source(
        "A ScaleIO volume.",
        {
            "fsType": _FS_TYPE,
            "gateway": string("Gateway.", required=True),
            "protectionDomain": string("Protection domain."),
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
            "sslEnabled": boolean("Use TLS."),
            "storageMode": string("Mode."),
            "storagePool": string("Pool."),
            "system": string("System.", required=True),
            "volumeName": string("Volume."),
        },
    ),
    "storageos": _source(
        "A StorageOS volume.",
        {
            "fsType": _FS_TYPE,
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
            "volumeName": string("Volume."),
            "volumeNamespace": string("Namespace."),
        },
    ),
    "quobyte": _source(
        "A Quobyte volume.",
        {
            "group": string("Group."),
            "readOnly": _READ_ONLY,
            "registry": string("Registry.", required=True),
            "tenant": string("Tenant."),
            "user": string("User."),
            "volume": string("Volume.", required=True),
        },
    ),
    "flocker": _source("A Flocker volume.", {"datasetName": string("By name."), "datasetUUID": string("By UUID.")}),
    "flexVolume": _source(
        "A volume by a driver on the node.",
        {
            "driver": string("Driver.", required=True),
            "fsType": _FS_TYPE,
            "options": string_map("Settings for it."),
            "readOnly": _READ_ONLY,
            "secretRef": _SECRET_REF,
        },
    ),
    "photonPersistentDisk": _source("A disk of Photon.", {"fsType": _FS_TYPE, "pdID": string("Disk.", required=True)}),
}

SOURCES: dict[str, Field] = {
    "emptyDir": EMPTY_DIR,
    "hostPath": HOST_PATH,
    "configMap": CONFIG_MAP,
    "secret": SECRET,
    "persistentVolumeClaim": PERSISTENT_VOLUME_CLAIM,
    "projected": PROJECTED,
    "ephemeral": EPHEMERAL,
    **OTHER_SOURCES,
}
"""The members of a Volume of which exactly one is set."""

VOLUME = obj(
    "A directory that containers of the pod can mount.",
    {"name": string("Name that volumeMounts refer to.", required=True), **SOURCES},
    retain_keys=True,
)
VOLUMES = array("Directories that the containers can mount.", VOLUME, "name")
