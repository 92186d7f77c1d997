"""Secrets as the commands show them."""

from __future__ import annotations

import json

CANARY = "canary-93b0"
B64 = "Y2FuYXJ5LTkzYjA="

MANIFEST = f"""
apiVersion: v1
kind: Secret
metadata: {{name: db, labels: {{app: shop}}}}
stringData: {{password: {CANARY}, user: admin}}
"""


def test_a_manifest_with_string_data(ktool, tmp_path):
    file = tmp_path / "db.yaml"
    file.write_text(MANIFEST)
    assert ktool("apply", "-f", file).out == "secret/db created\n"
    assert ktool("apply", "-f", file).out == "secret/db unchanged\n"
    listed = ktool("get", "secrets").lines
    assert [line.split()[:3] for line in listed] == [["NAME", "TYPE", "DATA"], ["db", "Opaque", "2"]]
    shown = json.loads(ktool("get", "secret", "db", "-o", "json").out)
    assert shown["data"] == {"password": B64, "user": "YWRtaW4="} and "stringData" not in shown
    annotations = json.dumps(shown["metadata"]["annotations"])
    assert "password" in annotations and CANARY not in annotations and B64 not in annotations
    described = ktool("describe", "secret", "db").out
    assert f"password:  {len(CANARY)} bytes\nuser:      5 bytes\n" in described
    assert CANARY not in described and B64 not in described
    file.write_text(MANIFEST.replace(", user: admin", ""))
    assert ktool("apply", "-f", file).out == "secret/db configured\n"
    assert json.loads(ktool("get", "secret", "db", "-o", "json").out)["data"] == {"password": B64}


def test_a_mistake_in_a_manifest_is_told_without_the_value(ktool, tmp_path):
    file = tmp_path / "db.yaml"
    file.write_text(MANIFEST.replace("stringData", "data"))
    told = ktool("apply", "-f", file)
    assert told.code == 1 and CANARY not in told.err + told.out
    assert "data[password]: must be base64; plain text belongs in stringData" in told.err
    assert "No resources found" in ktool("get", "secrets").err
