"""Secrets as tests write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ktool.lab import Lab

PRIVATE = "private.lab/web:v1"


def secret(name: str, **texts: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


def docker(name: str, user: str, password: str) -> dict[str, Any]:
    text = json.dumps({"auths": {"private.lab": {"username": user, "password": password}}})
    return {**secret(name, **{".dockerconfigjson": text}), "type": "kubernetes.io/dockerconfigjson"}


def from_key(variable: str, name: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def password_of(lab: Lab) -> str:
    return Path(lab.password_file).read_text().strip()
