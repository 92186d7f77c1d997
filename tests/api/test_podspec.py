"""core/v1 PodSpec: the rules between its fields, and the defaults that depend on others."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.api import schema
from ktool.api.shapes.podspec import POD_SPEC, default_pod_spec, tag_of, validate_pod_spec

WEB = {"name": "web", "image": "nginx:1.27"}


def pod(**spec: Any) -> dict[str, Any]:
    return {"containers": [WEB], **spec}


def web(**members: Any) -> dict[str, Any]:
    return {"containers": [{**WEB, **members}]}


def mounted(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"volumes": [{"name": "data", "emptyDir": {}}], **web(volumeMounts=list(mounts))}


def env(**source: Any) -> dict[str, Any]:
    return web(env=[{"name": "A", "valueFrom": source}])


def required_term(**requirement: Any) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    return pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})


GOOD = {
    "plain": pod(),
    "mount": mounted({"name": "data", "mountPath": "/data", "subPath": "a/b"}),
    "env-name-with-dots": web(env=[{"name": "my.var-1", "value": ""}]),
    "field-label": env(fieldRef={"fieldPath": "metadata.labels['example.com/team']"}),
    "resource-field": env(resourceFieldRef={"resource": "limits.memory", "divisor": "1Mi"}),
    "extended-resource": web(resources={"limits": {"example.com/gpu": 2}, "requests": {"example.com/gpu": 2}}),
    "same-hostport-tcp-udp": web(
        ports=[
            {"containerPort": 53, "hostPort": 53, "protocol": "TCP"},
            {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
        ]
    ),
    "tolerate-all": pod(tolerations=[{"operator": "Exists"}]),
    "host-alias-v6": pod(hostAliases=[{"ip": "fd00::1", "hostnames": ["db.local"]}]),
    "config-items": pod(
        volumes=[{"name": "c", "configMap": {"name": "c", "items": [{"key": "a.conf", "path": "x/a.conf"}]}}]
    ),
    "gt": required_term(key="cores", operator="Gt", values=["4"]),
    "digest": web(image="reg:5000/a/b@sha256:00"),
}


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_accepted(spec: dict[str, Any]) -> None:
    assert schema.check(POD_SPEC, spec) == []
    assert validate_pod_spec(spec, "spec") == []


BAD = {
    "no-containers": ({"containers": []}, "spec.containers: must have at least one container"),
    "container-name": ({"containers": [{**WEB, "name": "Web"}]}, "spec.containers[0].name"),
    "same-name": ({"containers": [WEB, WEB]}, 'two containers are named "web"'),
    "same-name-as-init": (pod(initContainers=[WEB]), 'two containers are named "web"'),
    "no-image": ({"containers": [{"name": "web"}]}, "spec.containers[0].image: is required"),
    "empty-image": (web(image=""), "spec.containers[0].image: is required"),
    "image-with-space": (web(image="nginx "), "must not hold spaces"),
    "port-name": (web(ports=[{"containerPort": 80, "name": "HTTP_port"}]), "ports[0].name"),
    "same-port-name": (
        web(ports=[{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]),
        'two ports are named "a"',
    ),
    "same-host-port": (
        web(ports=[{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]),
        "8080/TCP is taken by another port of the pod",
    ),
    "host-network-port": (
        {**web(ports=[{"containerPort": 80, "hostPort": 81}]), "hostNetwork": True},
        "must be equal to containerPort",
    ),
    "host-ip": (web(ports=[{"containerPort": 80, "hostPort": 80, "hostIP": "all"}]), "must be an IP address"),
    "env-name": (web(env=[{"name": "A=B", "value": "1"}]), "env[0].name"),
    "env-both": (
        web(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        "may not be set beside a value",
    ),
    "env-no-source": (env(), "must have one source"),
    "env-two-sources": (
        env(fieldRef={"fieldPath": "metadata.name"}, configMapKeyRef={"name": "c", "key": "k"}),
        "may have only one source",
    ),
    "env-field": (env(fieldRef={"fieldPath": "spec.hostname"}), "fieldRef.fieldPath: must be one of metadata.name"),
    "env-resource": (env(resourceFieldRef={"resource": "cpu"}), "must be like limits.cpu"),
    "env-from-none": (web(envFrom=[{}]), "envFrom[0]: must have one source"),
    "no-such-volume": (
        mounted({"name": "dta", "mountPath": "/d"}),
        'the pod has no volume "dta"; its volumes are data',
    ),
    "mount-relative": (mounted({"name": "data", "mountPath": "d"}), "must be an absolute path"),
    "mount-dots": (mounted({"name": "data", "mountPath": "/a/../b"}), "must not hold '..'"),
    "mount-colon": (mounted({"name": "data", "mountPath": "/a:b"}), "must not hold ':'"),
    "mount-twice": (
        mounted({"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/a/"}),
        "is mounted twice",
    ),
    "subpath-absolute": (mounted({"name": "data", "mountPath": "/a", "subPath": "/b"}), "must be a relative path"),
    "subpath-dots": (mounted({"name": "data", "mountPath": "/a", "subPath": "b/../../c"}), "must not hold '..'"),
    "volume-name": (pod(volumes=[{"name": "My_data", "emptyDir": {}}]), "spec.volumes[0].name"),
    "volume-twice": (
        pod(volumes=[{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}]),
        'two volumes are named "a"',
    ),
    "volume-no-source": (pod(volumes=[{"name": "a"}]), "spec.volumes[0]: must have one source"),
    "volume-two-sources": (
        pod(volumes=[{"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
        "may have only one source",
    ),
    "host-path-relative": (pod(volumes=[{"name": "a", "hostPath": {"path": "x"}}]), "must be an absolute path"),
    "host-path-dots": (pod(volumes=[{"name": "a", "hostPath": {"path": "/x/../y"}}]), "must not hold '..'"),
    "huge-pages": (pod(volumes=[{"name": "a", "emptyDir": {"medium": "HugePages"}}]), 'must be "" or "Memory"'),
    "item-path": (
        pod(volumes=[{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "../x"}]}}]),
        "must not hold '..'",
    ),
    "request-above-limit": (
        web(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}),
        'resources.requests[cpu]: must be no more than the cpu limit of 1500m, not "2"',
    ),
    "negative": (web(resources={"requests": {"memory": "-1"}}), "must not be less than 0"),
    "too-fine": (web(resources={"requests": {"cpu": "0.1m"}}), "must not be finer than 1m"),
    "unknown-resource": (web(resources={"requests": {"ram": "1"}}), "is no resource of containers"),
    "part-of-a-gpu": (web(resources={"limits": {"example.com/gpu": "0.5"}}), "must be a whole number"),
    "escalation": (
        web(securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
        "cannot be false for a privileged container",
    ),
    "init-probe": (
        pod(initContainers=[{**WEB, "name": "i", "readinessProbe": {"exec": {"command": ["a"]}}}]),
        "may not be set on an init container",
    ),
    "probe-two-handlers": (
        web(livenessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
        "may have only one handler",
    ),
    "probe-no-port": (
        web(readinessProbe={"httpGet": {"port": "htp"}}, ports=[{"name": "http", "containerPort": 80}]),
        'readinessProbe.httpGet.port: the container has no port named "htp"; its ports are http',
    ),
    "probe-port": (web(livenessProbe={"tcpSocket": {"port": 0}}), "must be between 1 and 65535, not 0"),
    "probe-success": (
        web(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2}),
        "successThreshold: must be 1",
    ),
    "probe-grace": (
        web(readinessProbe={"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 3}),
        "may not be set",
    ),
    "probe-command": (web(startupProbe={"exec": {}}), "startupProbe.exec.command: is required"),
    "probe-path": (web(startupProbe={"httpGet": {"port": 1, "path": "/a b\r\nX: y"}}), "must be a path without spaces"),
    "probe-host": (web(startupProbe={"tcpSocket": {"port": 1, "host": "a b"}}), "must be an address or a host name"),
    "probe-header-name": (
        web(startupProbe={"httpGet": {"port": 1, "httpHeaders": [{"name": "a:", "value": "b"}]}}),
        "httpHeaders[0].name: must be a header name",
    ),
    "probe-header-value": (
        web(startupProbe={"httpGet": {"port": 1, "httpHeaders": [{"name": "a", "value": "b\r\nc: d"}]}}),
        "httpHeaders[0].value: must be one line of text",
    ),
    "hook-two-handlers": (
        web(lifecycle={"preStop": {"exec": {"command": ["a"]}, "sleep": {"seconds": 1}}}),
        "may have only one handler",
    ),
    "hook-no-handler": (web(lifecycle={"postStart": {}}), "lifecycle.postStart: must have one handler"),
    "hook-port": (web(lifecycle={"preStop": {"httpGet": {"port": "x"}}}), "preStop.httpGet.port: the container has no"),
    "init-hook": (
        pod(initContainers=[{**WEB, "name": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]),
        "may not be set on an init container",
    ),
    "init-restart-policy": (
        pod(initContainers=[{**WEB, "name": "i", "restartPolicy": "OnFailure"}]),
        'must be "Always", which makes it',
    ),
    "restart-policy": (web(restartPolicy="Always"), "may be set on init containers only"),
    "host-alias": (pod(hostAliases=[{"ip": "db", "hostnames": ["db"]}]), "must be an IP address"),
    "hostname": (pod(hostname="a.b"), "spec.hostname"),
    "node-selector": (pod(nodeSelector={"a b": "c"}), "spec.nodeSelector"),
    "toleration-no-key": (pod(tolerations=[{"operator": "Equal", "value": "x"}]), "must be Exists"),
    "toleration-seconds": (
        pod(tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]),
        "must be NoExecute",
    ),
    "selector-no-values": (required_term(key="a", operator="In"), "values: is required with operator In"),
    "selector-gt": (required_term(key="a", operator="Gt", values=["x"]), "must be one whole number"),
    "spread-twice": (
        pod(
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ]
        ),
        "there are two constraints for zone",
    ),
}


@pytest.mark.parametrize("spec, expected", BAD.values(), ids=BAD)
def test_refused(spec: dict[str, Any], expected: str) -> None:
    assert schema.check(POD_SPEC, spec) == []
    said = [str(cause) for cause in validate_pod_spec(spec, "spec")]
    assert any(expected in line for line in said), said


@pytest.mark.parametrize(
    "image, tag",
    [
        ("nginx", "latest"),
        ("nginx:latest", "latest"),
        ("nginx:1.27", "1.27"),
        ("localhost:5000/nginx", "latest"),
        ("localhost:5000/nginx:2", "2"),
        ("nginx@sha256:abc", ""),
        ("nginx:1@sha256:abc", "1"),
    ],
)
def test_tag_of(image: str, tag: str) -> None:
    assert tag_of(image) == tag


@pytest.mark.parametrize(
    "image, policy",
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("r:5000/nginx:1", "IfNotPresent"),
        ("a@sha256:b", "IfNotPresent"),
    ],
)
def test_image_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    spec = default_pod_spec(web(image=image))
    assert spec["containers"][0]["imagePullPolicy"] == policy


def test_requests_follow_the_limits() -> None:
    resources = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    spec = default_pod_spec(
        {**web(resources=resources), "initContainers": [{**WEB, "name": "i", "resources": resources}]}
    )
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["resources"] == {**resources, "requests": {"cpu": "500m", "memory": "1Gi"}}
    assert resources["requests"] == {"cpu": "500m"}


def test_host_network_gives_every_port_to_the_node() -> None:
    spec = default_pod_spec({**web(ports=[{"containerPort": 80}]), "hostNetwork": True})
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80}]


def test_a_spec_with_all_defaults_comes_back_itself() -> None:
    spec = web(imagePullPolicy="Always", resources={"requests": {"cpu": "1"}})
    assert default_pod_spec(spec) is spec
