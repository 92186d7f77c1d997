"""core/v1 Container: field trees of containers, probes and lifecycle hooks. shapes/podspec and shapes/podstatus include
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ktool.api.schema import Field
from ktool.api.shapes.build import (
    array,
    boolean,
    choice,
    int_or_string,
    integer,
    long,
    obj,
    quantities,
    string,
    strings,
)
from ktool.api.shapes.volumes import OBJECT_FIELD_SELECTOR, RESOURCE_FIELD_SELECTOR

PORT = {"minimum": 1, "maximum": 65535}

# --- environment -------------------------------------------------------------------------------------------------


def _key_ref(doc: str) -> Field:
    fields = {
        "name": string("Name of the object, in the pod's namespace.", required=True),
        "key": string("Key to take.", required=True),
        "optional": boolean("Whether the container may start where it is missing."),
    }
    return obj(doc, fields)


def _env_source(doc: str) -> Field:
    fields = {
        "name": string("Name of the object, in the pod's namespace.", required=True),
        "optional": boolean("Whether the container may start where it is missing."),
    }
    return obj(doc, fields)


ENV_VAR = obj(
    "One environment variable.",
    {
        "name": string("Name of the variable.", required=True),
        "value": string("Its value; $(NAME) stands for an earlier variable, $$ for a dollar sign."),
        "valueFrom": obj(
            "Where the value comes from instead.",
            {
                "configMapKeyRef": _key_ref("A key of a ConfigMap."),
                "secretKeyRef": _key_ref("A key of a Secret."),
                "fieldRef": OBJECT_FIELD_SELECTOR,
                "resourceFieldRef": RESOURCE_FIELD_SELECTOR,
                "fileKeyRef": obj(
                    "A key of a file in an emptyDir.",
                    {
                        "volumeName": string("The volume.", required=True),
                        "path": string("File in it.", required=True),
                        "key": string("Key to take.", required=True),
                        "optional": boolean("Whether the container may start where it is missing."),
                    },
                    acted=False,
                ),
            },
        ),
    },
)
ENV_FROM = obj(
    "All keys of an object as environment variables.",
    {
        "prefix": string("Put before each key."),
        "configMapRef": _env_source("A ConfigMap."),
        "secretRef": _env_source("A Secret."),
    },
)

# --- resources, ports, mounts ------------------------------------------------------------------------------------

RESOURCES = obj(
    "What the container needs and what it may use.",
    {
        "limits": quantities("At most this much; the node enforces it."),
        "requests": quantities("At least this much; the scheduler keeps it free. As much as the limit where absent."),
        "claims": array(
            "Resource claims of the pod that this container uses.",
            obj(
                "One claim.",
                {"name": string("Entry of spec.resourceClaims.", required=True), "request": string("Part of it.")},
            ),
            "name",
            acted=False,
        ),
    },
)
CONTAINER_PORT = obj(
    "A port the container listens on.",
    {
        "name": string("Name that others can use for the number."),
        "containerPort": integer("Port in the pod.", required=True, **PORT),
        "hostPort": integer("Port of the node that leads here.", minimum=0, maximum=65535),
        "hostIP": string("Address of the node that hostPort is bound to."),
        "protocol": choice("Transport.", "TCP", "UDP", "SCTP", default="TCP"),
    },
)
VOLUME_MOUNT = obj(
    "A volume's place in the container.",
    {
        "name": string("Entry of spec.volumes.", required=True),
        "mountPath": string("Path in the container.", required=True),
        "subPath": string("Directory or file of the volume to mount instead of its root."),
        "readOnly": boolean("Whether the container may only read it."),
        "subPathExpr": string("subPath with $(NAME) replaced by environment variables.", acted=False),
        "mountPropagation": choice(
            "Whether mounts pass between node and container.",
            "None",
            "HostToContainer",
            "Bidirectional",
            acted=False,
            moot=("None",),
        ),
        "recursiveReadOnly": choice(
            "Whether mounts below a read-only one are read-only too.",
            "Disabled",
            "IfPossible",
            "Enabled",
            acted=False,
            moot=("Disabled",),
        ),
    },
)

# --- security ----------------------------------------------------------------------------------------------------

SELINUX = obj(
    "SELinux label.",
    {
        "user": string("User part."),
        "role": string("Role part."),
        "type": string("Type part."),
        "level": string("Level part."),
    },
    acted=False,
)
_PROFILE = {
    "type": choice("Which profile.", "RuntimeDefault", "Localhost", "Unconfined", required=True),
    "localhostProfile": string("Profile on the node, for type Localhost."),
}
_DEFAULT_PROFILE = ({"type": "RuntimeDefault"},)
SECCOMP = obj("Seccomp profile.", _PROFILE, acted=False, moot=_DEFAULT_PROFILE)
APPARMOR = obj("AppArmor profile.", _PROFILE, acted=False, moot=_DEFAULT_PROFILE)
WINDOWS_OPTIONS = obj(
    "For Windows containers only.",
    {
        "gmsaCredentialSpec": string("Credential spec."),
        "gmsaCredentialSpecName": string("Name of the credential spec."),
        "hostProcess": boolean("Run on the host."),
        "runAsUserName": string("User to run as."),
    },
    acted=False,
)
USER_ID = {"minimum": 0, "maximum": 2**31 - 1}
SECURITY_CONTEXT = obj(
    "Rights of the container; they go before those of the pod.",
    {
        "runAsUser": long("User id the process runs as.", **USER_ID),
        "runAsGroup": long("Group id the process runs as.", **USER_ID),
        "runAsNonRoot": boolean("Refuse to start as user 0."),
        "readOnlyRootFilesystem": boolean("Whether the image's files are read-only."),
        "allowPrivilegeEscalation": boolean("Whether a process may gain more rights than its parent."),
        "privileged": boolean("All rights on the node."),
        "capabilities": obj(
            "Linux capabilities beside the usual ones.",
            {"add": strings("Capabilities to add."), "drop": strings("Capabilities to take away; ALL is allowed.")},
        ),
        "procMount": choice("How /proc is mounted.", "Default", "Unmasked", acted=False, moot=("Default",)),
        "seLinuxOptions": SELINUX,
        "seccompProfile": SECCOMP,
        "appArmorProfile": APPARMOR,
        "windowsOptions": WINDOWS_OPTIONS,
    },
)

# --- probes and hooks --------------------------------------------------------------------------------------------

_EXEC = obj("Run a command in the container.", {"command": strings("The command and its arguments.")})
_HTTP_GET = obj(
    "Ask for a URL; 200 to 399 is success.",
    {
        "path": string("Path of the URL.", default="/"),
        "port": int_or_string("Port, by number or by name.", required=True),
        "host": string("Host, the pod's address where absent."),
        "scheme": choice("Protocol.", "HTTP", "HTTPS", default="HTTP"),
        "httpHeaders": array(
            "Headers to send.",
            obj(
                "One header.",
                {"name": string("Its name.", required=True), "value": string("Its value.", required=True)},
            ),
        ),
    },
)
_TCP_SOCKET = obj(
    "Open a TCP connection.",
    {
        "port": int_or_string("Port, by number or by name.", required=True),
        "host": string("Host, the pod's address where absent."),
    },
)
_GRPC = obj(
    "Ask gRPC's health service.",
    {
        "port": integer("Port.", required=True, **PORT),
        "service": string("Name of the service to ask about.", default=""),
    },
)
PROBE_FIELDS: Mapping[str, Field] = {
    "exec": _EXEC,
    "httpGet": _HTTP_GET,
    "tcpSocket": _TCP_SOCKET,
    "grpc": _GRPC,
    "initialDelaySeconds": integer("Seconds after the start before the first probe.", minimum=0),
    "periodSeconds": integer("Seconds between probes.", default=10, minimum=1),
    "timeoutSeconds": integer("Seconds a probe may take.", default=1, minimum=1),
    "successThreshold": integer("Successes in a row that count as success.", default=1, minimum=1),
    "failureThreshold": integer("Failures in a row that count as failure.", default=3, minimum=1),
    "terminationGracePeriodSeconds": long("Seconds to end when this probe fails, instead of the pod's.", minimum=1),
}
HOOK = obj(
    "What is done.",
    {
        "exec": _EXEC,
        "httpGet": _HTTP_GET,
        "tcpSocket": replace(_TCP_SOCKET, doc="Not a hook any more in Kubernetes.", acted=False),
        "sleep": obj("Wait.", {"seconds": long("How long.", required=True, minimum=0)}),
    },
)
LIFECYCLE = obj(
    "What is done after the start and before the end.",
    {
        "postStart": replace(HOOK, doc="Done right after the container has started."),
        "preStop": replace(HOOK, doc="Done before the container is told to end."),
        "stopSignal": string("Signal that ends the container, instead of the image's.", acted=False),
    },
)

_RESIZE_POLICY = obj(
    "What a change of one resource does.",
    {
        "resourceName": string("The resource.", required=True),
        "restartPolicy": choice("Restart or not.", "NotRequired", "RestartContainer", required=True),
    },
)
_RESTART_RULE = obj(
    "What is done for some exit codes.",
    {
        "action": choice("What is done.", "Restart", "RestartAllContainers", required=True),
        "exitCodes": obj(
            "Which exit codes.",
            {
                "operator": choice("How they are compared.", "In", "NotIn", required=True),
                "values": array("Exit codes.", integer("Exit code.")),
            },
        ),
    },
)

CONTAINER = obj(
    "One container of the pod.",
    {
        "name": string("Name, unique in the pod.", required=True),
        "image": string("Image to run."),
        "imagePullPolicy": choice(
            "When the image is pulled: Always where the tag is latest or absent, else IfNotPresent.",
            "Always",
            "IfNotPresent",
            "Never",
        ),
        "command": strings("Program to run instead of the image's entrypoint; no shell is used."),
        "args": strings("Its arguments, instead of the image's."),
        "workingDir": string("Directory it starts in, instead of the image's."),
        "env": array("Environment variables.", ENV_VAR, "name"),
        "envFrom": array("Objects whose keys become environment variables.", ENV_FROM),
        "ports": array("Ports it listens on.", CONTAINER_PORT, "containerPort,protocol"),
        "resources": replace(RESOURCES, default={}),
        "volumeMounts": array("Where it sees the volumes of the pod.", VOLUME_MOUNT, "mountPath"),
        "securityContext": SECURITY_CONTEXT,
        "stdin": boolean("Whether standard input stays open."),
        "stdinOnce": boolean("Whether standard input is closed after the first attach.", acted=False),
        "tty": boolean("Whether it gets a terminal; needs stdin."),
        "terminationMessagePath": string(
            "File whose content becomes the termination message.", default="/dev/termination-log", acted=False
        ),
        "terminationMessagePolicy": choice(
            "Where the termination message comes from.",
            "File",
            "FallbackToLogsOnError",
            default="File",
            acted=False,
        ),
        "livenessProbe": obj("When it fails, the container is restarted.", PROBE_FIELDS),
        "readinessProbe": obj("While it fails, no traffic comes here.", PROBE_FIELDS),
        "startupProbe": obj("The other probes wait until it succeeds.", PROBE_FIELDS),
        "lifecycle": LIFECYCLE,
        "volumeDevices": array(
            "Block devices it sees.",
            obj(
                "One device.",
                {
                    "name": string("Entry of spec.volumes.", required=True),
                    "devicePath": string("Path in the container.", required=True),
                },
            ),
            "devicePath",
            acted=False,
        ),
        "resizePolicy": array("What a change of resources does.", _RESIZE_POLICY, acted=False),
        "restartPolicy": choice(
            "Of an init container only: Always makes it a sidecar, which runs beside the others.",
            "Always",
            "OnFailure",
            "Never",
        ),
        "restartPolicyRules": array("Exceptions by exit code.", _RESTART_RULE, acted=False),
    },
)
CONTAINERS = array("The containers; they run side by side.", CONTAINER, "name", required=True)
INIT_CONTAINERS = array(
    "Containers that run to their end, one after the other, before the others start.", CONTAINER, "name"
)
EPHEMERAL_CONTAINERS = array(
    "Containers put into the running pod to look into it.",
    replace(CONTAINER, fields={**CONTAINER.fields, "targetContainerName": string("Container to look into.")}),
    "name",
    acted=False,
)
