"""From a Pod to Podman's payloads: what each field becomes. tests/podman shows that Podman takes them so."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ktool.api.obj import get
from ktool.api.ref import Ref
from ktool.logic.node.nodeaction import PreparePath
from ktool.logic.pod import podspec
from tests.logic.nodemodel import NODE

UID = "0123abcd-0000-4000-8000-000000000001"


def rendered(
    container: dict[str, Any] | None = None, configs: dict[str, Any] | None = None, ip="10.244.1.7", **spec: Any
):
    first = {"name": "web", "image": "registry.test/web:v1", **(container or {})}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "uid": UID,
            "labels": {"app": "web"},
            "annotations": {"note": "hello"},
        },
        "spec": {"containers": [first], **spec},
    }

    def lookup(ref: Ref):
        return (configs or {}).get(ref.name) if (ref.kind, ref.namespace) == ("ConfigMap", "shop") else None

    return podspec.render(pod, node=NODE, cluster="c1", ip=ip, lookup=lookup)


def payload(container: dict[str, Any] | None = None, configs: dict[str, Any] | None = None, **spec: Any):
    result = rendered(container, configs, **spec)
    assert not result.problems, result.problems
    return result.containers["web"]


def test_the_whole_of_a_small_pod():
    result = rendered({"ports": [{"containerPort": 80, "hostPort": 8080}]})
    labels = {
        "ktool.dev/cluster": "c1",
        "ktool.dev/namespace": "shop",
        "ktool.dev/pod": "web",
        "ktool.dev/uid": UID,
        "ktool.dev/hash": result.hash,
        "ktool.dev/ip": "10.244.1.7",
    }
    assert result.pod == {
        "name": "web_shop_0123abcd",
        "infra_name": "infra_web_shop_0123abcd",
        "shared_namespaces": ["net", "uts", "ipc"],
        "exit_policy": "continue",
        "resource_limits": {"cpu": {"shares": 2}},
        "netns": {"nsmode": "bridge"},
        "Networks": {"ktool": {"static_ips": ["10.244.1.7"], "static_mac": "0a:58:0a:f4:01:07"}},
        "hostname": "web",
        "dns_server": ["10.96.0.10"],
        "dns_search": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "dns_option": ["ndots:5"],
        "portmappings": [{"host_ip": "", "host_port": 8080, "container_port": 80, "protocol": "tcp", "range": 1}],
        "labels": labels,
    }
    assert result.containers["web"] == {
        "name": "web_web_shop_0123abcd",
        "pod": "web_shop_0123abcd",
        "image": "registry.test/web:v1",
        "env": {},
        "restart_policy": "always",
        "stop_timeout": 30,
        "log_configuration": {"driver": "k8s-file", "size": 10485760},
        "systemd": "false",
        "resource_limits": {"cpu": {"shares": 2}},
        "labels": {**labels, "ktool.dev/container": "web"},
    }
    assert [(found.image, found.policy) for found in result.images.values()] == [
        ("registry.test/web:v1", "IfNotPresent")
    ]


@pytest.mark.parametrize(
    "container, entrypoint, command",
    [
        ({}, None, None),
        ({"command": ["/run"]}, ["/run"], None),
        ({"args": ["-v"]}, None, ["-v"]),
        ({"command": ["/run"], "args": ["-v"]}, ["/run"], ["-v"]),
        ({"command": ["/run"], "args": []}, ["/run"], None),
        (
            {"command": ["$(A)"], "args": ["$(B)", "$$(A)", "$(NO)"], "env": [{"name": "A", "value": "x"}]},
            ["x"],
            ["$(B)", "$(A)", "$(NO)"],
        ),
    ],
)
def test_command_replaces_entrypoint_and_args_replace_cmd(container, entrypoint, command):
    found = payload(container)
    assert (found.get("entrypoint"), found.get("command")) == (entrypoint, command)


@pytest.mark.parametrize(
    "resources, expected",
    [
        ({}, {"cpu": {"shares": 2}}),
        ({"requests": {"cpu": "250m", "memory": "64Mi"}}, {"cpu": {"shares": 256}}),
        ({"requests": {"cpu": "1m"}}, {"cpu": {"shares": 2}}),
        ({"limits": {"cpu": "1.5"}}, {"cpu": {"shares": 1536, "quota": 150000, "period": 100000}}),
        ({"limits": {"cpu": "1m"}}, {"cpu": {"shares": 2, "quota": 1000, "period": 100000}}),
        ({"limits": {"memory": "64Mi"}}, {"cpu": {"shares": 2}, "memory": {"limit": 67108864, "swap": 67108864}}),
        ({"requests": {"cpu": 1}, "limits": {"cpu": 2}}, {"cpu": {"shares": 1024, "quota": 200000, "period": 100000}}),
    ],
)
def test_resources(resources, expected):
    assert payload({"resources": resources})["resource_limits"] == expected


@pytest.mark.parametrize(
    "pod, container, expected",
    [
        ({}, {}, {}),
        ({"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [8]}, {}, {"user": "5", "groups": ["8", "7"]}),
        ({"runAsUser": 5, "runAsGroup": 6}, {"runAsUser": 0}, {"user": "0:6"}),
        ({}, {"privileged": True, "readOnlyRootFilesystem": True}, {"privileged": True, "read_only_filesystem": True}),
        ({}, {"allowPrivilegeEscalation": False}, {"no_new_privileges": True}),
        (
            {},
            {"capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME"], "drop": ["ALL"]}},
            {"cap_add": ["CAP_NET_ADMIN", "CAP_SYS_TIME"], "cap_drop": ["all"]},
        ),
    ],
)
def test_security(pod, container, expected):
    plain = payload()
    found = payload({"securityContext": container}, securityContext=pod)
    assert {key: value for key, value in found.items() if key not in plain} == expected


@pytest.mark.parametrize(
    "pod, container, message",
    [
        ({"runAsGroup": 5}, {}, "runAsGroup is specified without runAsUser"),
        ({"runAsNonRoot": True}, {"runAsUser": 0}, "container's runAsUser breaks non-root policy"),
    ],
)
def test_security_that_cannot_be(pod, container, message):
    result = rendered({"securityContext": container}, securityContext=pod)
    assert result.problems["web"].reason == "CreateContainerConfigError"
    assert result.problems["web"].message == message
    assert "web" not in result.containers


def test_host_network_has_no_address_no_host_name_and_no_port_mappings():
    result = rendered({"ports": [{"containerPort": 80, "hostPort": 80}]}, hostNetwork=True, ip="")
    assert result.pod["netns"] == result.pod["utsns"] == {"nsmode": "host"}
    assert not {"Networks", "hostname", "portmappings"} & set(result.pod)
    assert result.pod["labels"]["ktool.dev/ip"] == ""


@pytest.mark.parametrize(
    "image, name, policy",
    [
        ("nginx", "docker.io/library/nginx:latest", "Always"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "IfNotPresent"),
        ("me/app", "docker.io/me/app:latest", "Always"),
        ("localhost/app:1", "localhost/app:1", "IfNotPresent"),
        ("registry:5000/app", "registry:5000/app:latest", "Always"),
        ("quay.io/app@sha256:abc", "quay.io/app@sha256:abc", "IfNotPresent"),
    ],
)
def test_image_names_are_kubernetes_own(image, name, policy):
    found = rendered({"image": image}).images["web"]
    assert (found.image, found.policy) == (name, policy)


def test_init_containers_come_first_and_never_restart_by_themselves():
    result = rendered(initContainers=[{"name": "first", "image": "registry.test/i:1"}], restartPolicy="OnFailure")
    assert list(result.containers) == ["first", "web"] and result.init == ("first",)
    assert [result.containers[own]["restart_policy"] for own in ("first", "web")] == ["no", "on-failure"]


def test_the_hash_is_of_the_content_and_not_of_the_address():
    assert rendered(ip="10.244.1.7").hash == rendered(ip="10.244.1.8").hash
    assert rendered().hash != rendered({"image": "registry.test/web:v2"}).hash


# --- environment -------------------------------------------------------------------------------------------------

SETTINGS = {"settings": {"data": {"COLOR": "blue", "bad key": "x", "size": "7"}, "binaryData": {"blob": "AAA="}}}


@pytest.mark.parametrize(
    "container, expected",
    [
        (
            {
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "value": "$(A)-$$(A)-$(C)"},
                    {"name": "C", "value": ""},
                ]
            },
            {"A": "1", "B": "1-$(A)-$(C)", "C": ""},
        ),
        (
            {
                "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "P_"}],
                "env": [{"name": "P_size", "value": "$(P_COLOR)"}],
            },
            {"P_COLOR": "blue", "P_size": "blue"},
        ),
        ({"envFrom": [{"configMapRef": {"name": "none", "optional": True}}]}, {}),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "COLOR"}}}]},
            {"A": "blue"},
        ),
        (
            {
                "env": [
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "no", "optional": True}}}
                ]
            },
            {},
        ),
    ],
    ids=["references", "envFrom before env", "optional map", "key", "optional key"],
)
def test_environment(container, expected):
    assert payload(container, SETTINGS)["env"] == expected


@pytest.mark.parametrize(
    "path, expected",
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", UID),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['note']", "hello"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.244.1.7"),
        ("status.podIPs", "10.244.1.7"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_downward_api(path, expected):
    found = payload({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]})
    assert found["env"] == {"A": expected}


def test_the_address_of_a_host_network_pod_is_the_nodes():
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    assert payload({"env": env}, hostNetwork=True, ip="")["env"] == {"A": "192.0.2.1"}


@pytest.mark.parametrize(
    "reference, expected",
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "65"),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),
        ({"resource": "limits.cpu", "containerName": "web", "divisor": "0"}, "2"),
    ],
)
def test_resource_fields(reference, expected):
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": str(64 * 1024**2 + 1)}}
    env = [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}]
    assert payload({"env": env, "resources": resources})["env"] == {"A": expected}


@pytest.mark.parametrize(
    "source, message",
    [
        ({"configMapKeyRef": {"name": "none", "key": "a"}}, 'configmap "none" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "a"}}, "couldn't find key a in ConfigMap shop/settings"),
        (
            {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}},
            "fileKeyRef is not supported as a source of env yet",
        ),
        ({"fieldRef": {"fieldPath": "spec.hostname"}}, "unsupported fieldPath: spec.hostname"),
    ],
)
def test_environment_that_cannot_be_had_now(source, message):
    result = rendered({"env": [{"name": "A", "valueFrom": source}]}, SETTINGS)
    assert result.problems["web"].message == message


# --- volumes -----------------------------------------------------------------------------------------------------

FILES = {
    "conf": {"data": {"a.conf": "aa", "b.conf": "bb"}, "binaryData": {"c.bin": base64.b64encode(b"\0\1").decode()}}
}


def mounted(mount: dict[str, Any], volume: dict[str, Any], **spec: Any):
    return rendered({"volumeMounts": [{"name": "v", **mount}]}, FILES, volumes=[{"name": "v", **volume}], **spec)


@pytest.mark.parametrize(
    "mount, volume, source, mode",
    [
        ({}, {"emptyDir": {}}, f"/var/lib/ktool/pods/{UID}/volumes/v", "rw"),
        ({"readOnly": True}, {"emptyDir": {"medium": "Memory"}}, f"/run/ktool/pods/{UID}/volumes/v", "ro"),
        ({}, {"configMap": {"name": "conf"}}, f"/var/lib/ktool/pods/{UID}/volumes/v", "ro"),
        (
            {"subPath": "a.conf"},
            {"configMap": {"name": "conf"}},
            f"/var/lib/ktool/pods/{UID}/volumes/v/..data/a.conf",
            "ro",
        ),
        ({}, {"hostPath": {"path": "/srv/x"}}, "/srv/x", "rw"),
        ({"subPath": "y/z"}, {"hostPath": {"path": "/srv/x/"}}, "/srv/x/y/z", "rw"),
    ],
)
def test_mounts(mount, volume, source, mode):
    result = mounted({"mountPath": "/data", **mount}, volume)
    assert result.containers["web"]["mounts"] == [
        {"destination": "/data", "type": "bind", "source": source, "options": ["rbind", mode, "rprivate"]}
    ]


def test_directories_that_mounts_need():
    result = mounted({"mountPath": "/d", "subPath": "y"}, {"hostPath": {"path": "/srv/x", "type": "Directory"}})
    assert result.host_paths == (PreparePath("/srv/x", "Directory"), PreparePath("/srv/x/y", "DirectoryOrCreate"))


def test_files_of_a_configmap():
    (volume,) = mounted({"mountPath": "/d"}, {"configMap": {"name": "conf"}}).volumes
    assert [(f.path, f.data, f.mode) for f in volume.files] == [
        ("a.conf", b"aa", 0o644),
        ("b.conf", b"bb", 0o644),
        ("c.bin", b"\0\1", 0o644),
    ]
    items = [{"key": "b.conf", "path": "x/b", "mode": 0o600}, {"key": "a.conf", "path": "a"}]
    source = {"configMap": {"name": "conf", "items": items, "defaultMode": 0o400}}
    (volume,) = mounted({"mountPath": "/d"}, source, securityContext={"fsGroup": 7}).volumes
    assert [(f.path, f.mode) for f in volume.files] == [("a", 0o440), ("x/b", 0o640)]
    assert volume.gid == 7


def test_the_hash_of_a_volume_follows_its_content():
    before = mounted({"mountPath": "/d"}, {"configMap": {"name": "conf"}}).volumes[0].hash
    FILES["conf"]["data"]["a.conf"], saved = "changed", FILES["conf"]["data"]["a.conf"]
    after = mounted({"mountPath": "/d"}, {"configMap": {"name": "conf"}}).volumes[0].hash
    FILES["conf"]["data"]["a.conf"] = saved
    assert before != after


def test_memory_has_its_size_and_disk_has_none():
    assert (
        mounted({"mountPath": "/d"}, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}).volumes[0].size == 1048576
    )
    assert mounted({"mountPath": "/d"}, {"emptyDir": {"sizeLimit": "1Mi"}}).volumes[0].size == 0


@pytest.mark.parametrize(
    "mount, volume, where, message",
    [
        ({}, {"configMap": {"name": "no"}}, "", 'MountVolume.SetUp failed for volume "v" : configmap "no" not found'),
        (
            {},
            {"configMap": {"name": "conf", "items": [{"key": "no", "path": "x"}]}},
            "",
            'MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: no',
        ),
        ({}, {"nfs": {"server": "s", "path": "/"}}, "", "volumes of type nfs are not supported yet"),
        ({"subPath": "no"}, {"configMap": {"name": "conf"}}, "web", 'subPath "no" is not in volume "v"'),
        ({"subPath": "../x"}, {"emptyDir": {}}, "web", "must be a relative path"),
        ({"name": "w"}, {"emptyDir": {}}, "web", 'volume "w" is not defined in the pod'),
    ],
)
def test_volumes_that_cannot_be_had_now(mount, volume, where, message):
    result = mounted({"mountPath": "/d", **mount}, volume)
    assert message in result.problems[where].message
    assert not result.containers


def test_an_optional_configmap_is_an_empty_directory():
    result = mounted({"mountPath": "/d"}, {"configMap": {"name": "no", "optional": True}})
    assert result.volumes[0].files == () and get(result.containers, "web", "mounts")
