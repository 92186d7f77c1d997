"""What describe shows of a pod's Secrets: where values come from, as kubectl words it, and never a value."""

from __future__ import annotations

from ktool.api.world import World
from ktool.kinds.pod import describe
from ktool.present import sheet

KEY = {"name": "db", "key": "word"}
SOURCES = [
    {"secret": {"name": "db"}},
    {"configMap": {"name": "conf", "optional": True}},
    {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
]
FACT = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
POD = {
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "i:1",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": KEY}},
                    {"name": "B", "valueFrom": {"configMapKeyRef": {**KEY, "optional": True}}},
                ],
                "envFrom": [{"secretRef": {"name": "all", "optional": True}}],
            }
        ],
        "volumes": [
            {"name": "files", "secret": {"secretName": "db"}},
            {"name": "many", "projected": {"sources": SOURCES}},
            {"name": "facts", "downwardAPI": {"items": [FACT]}},
        ],
    },
}


def test_where_values_come_from() -> None:
    lines = [" ".join(line.split()) for line in sheet.text(describe(POD, World(), 0.0)).splitlines()]
    for line in (
        "A: <set to the key 'word' in secret 'db'> Optional: false",
        "B: <set to the key 'word' of config map 'db'> Optional: true",
        "all: Secret Optional: true",
        "Type: Secret (a volume populated by a Secret)",
        "Type: Projected (a volume that contains injected data from multiple sources)",
        "ConfigMapName: conf",
        "DownwardAPI: true",
        "metadata.labels: -> labels",
    ):
        assert line in lines, lines
