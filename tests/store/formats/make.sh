#!/bin/sh
# Writes the database of a released program as SQL text, for tests/store/test_formats.py. Made once for each format:
#   sh tests/store/formats/make.sh CHECKOUT FORMAT
# CHECKOUT has that program and its .venv. The key beside it protects nothing but this file.
set -eu
checkout=$(cd -P "$1" && pwd)
here=$(cd -P "$(dirname "$0")" && pwd)
KTOOL_HOME=$(mktemp -d)
export KTOOL_HOME
ktool() { "$checkout/.venv/bin/ktool" "$@"; }

ktool node add sim --simulated --count 2
ktool apply -f - <<'END'
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
---
apiVersion: v1
kind: Secret
metadata: {name: login, namespace: shop}
stringData: {password: canary-of-format}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.lab/web:v1"}]}
END
ktool set image deploy/web web=registry.lab/web:v2 -n shop
ktool create configmap gone --from-literal=a=b -n shop
ktool delete configmap gone -n shop
ktool get all,configmaps,secrets,networkpolicies,nodes -A
"$checkout/.venv/bin/python" - "$KTOOL_HOME/ktool.db" >"$here/format-$2.sql" <<'END'
import sqlite3
import sys

print("\n".join(sqlite3.connect(sys.argv[1]).iterdump()))
END
cp "$KTOOL_HOME/secret.key" "$here/format-$2.key"
rm -rf "$KTOOL_HOME"
