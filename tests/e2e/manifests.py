"""Manifests that these tests apply; JSON is YAML."""

from __future__ import annotations

import json

IMAGE = "registry.lab/web"


def web(replicas: int, version: str) -> str:
    """A Deployment of web servers that at most one may be missing of and one too many."""
    labels = {"app": "web"}
    container = {"name": "web", "image": f"{IMAGE}:{version}", "ports": [{"containerPort": 8080}]}
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})


def config(name: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
