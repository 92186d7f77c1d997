"""core/v1 volume sources that ktool knows by their schema only: network file systems and cloud disks. shapes/volumes
includes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from ktool.api.schema import Field
from ktool.api.shapes.build import (
    INT32_MAX,
    boolean,
    choice,
    integer,
    name_ref,
    obj,
    string,
    string_map,
    strings,
)

_FS_TYPE = string("Filesystem type, such as ext4.")
_READ_ONLY = boolean("Mount it read-only.")
_SECRET_REF = name_ref("Secret with the credentials.")


def _source(doc: str, fields: Mapping[str, Field]) -> Field:
    """A volume source that is not acted on."""
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
