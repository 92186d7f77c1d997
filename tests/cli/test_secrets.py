"""Secrets as the commands show and change them."""

from __future__ import annotations

import base64
import datetime
import io
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from ktool import app

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


# --- the commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def stdin(monkeypatch):
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return feed


@pytest.fixture
def db(ktool):
    made = ktool("secret", "create", "generic", "db", f"--from-literal=password={CANARY}", "--from-literal=user=a")
    assert made.code == 0, made.err


def data(ktool, name: str = "db", namespace: str = "default") -> dict[str, str]:
    shown = ktool("get", "secret", name, "-n", namespace, "-o", "json")
    assert shown.code == 0, shown.err
    return {key: base64.b64decode(text).decode() for key, text in json.loads(shown.out).get("data", {}).items()}


def test_generic_from_everywhere(ktool, tmp_path, stdin, monkeypatch):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.txt").write_text("A")
    (tmp_path / "conf" / "not a key").write_text("B")
    (tmp_path / "x.env").write_text("\ufeff# said\nTOKEN=t=1\n  SPACED=x \nFROM_HERE\n")
    monkeypatch.setenv("FROM_HERE", "here")
    stdin(b"typed\r\nmore")
    done = ktool(
        *("create", "secret", "generic", "many", "--from-literal", "a=1", "--from-literal", "asked"),
        *("--from-file", tmp_path / "conf", "--from-file", f"b={tmp_path / 'conf' / 'a.txt'}"),
        *("--from-env-file", tmp_path / "x.env"),
    )
    assert (done.code, done.out) == (0, "secret/many created\n")
    assert data(ktool, "many") == {
        "a": "1",
        "asked": "typed",
        "a.txt": "A",
        "b": "A",
        "TOKEN": "t=1",
        "SPACED": "x ",
        "FROM_HERE": "here",
    }
    stdin(b"\x00\xffbytes\n")
    done = ktool("secret", "create", "generic", "raw", "--from-file", "blob=-", "--dry-run=client", "-o", "json")
    made = json.loads(done.out)
    assert base64.b64decode(made["data"]["blob"]) == b"\x00\xffbytes\n"
    assert (made["type"], made["metadata"]) == ("Opaque", {"name": "raw", "namespace": "default"})
    assert ktool("get", "secret", "raw").code == 1


def test_configmap_from_the_same_sources(ktool, tmp_path):
    (tmp_path / "blob").write_bytes(b"\xff")
    made = ktool("create", "configmap", "c", "--from-literal", "a=1", "--from-file", tmp_path / "blob")
    assert (made.code, made.out) == (0, "configmap/c created\n")
    shown = json.loads(ktool("get", "cm", "c", "-o", "json").out)
    assert (shown["data"], shown["binaryData"]) == ({"a": "1"}, {"blob": "/w=="})


def test_docker_registry(ktool, stdin):
    stdin(CANARY.encode() + b"\n")
    argv = ["--docker-server", "registry.test", "--docker-username", "ci"]
    assert ktool("create", "secret", "docker-registry", "pull", *argv).out == "secret/pull created\n"
    config = json.loads(data(ktool, "pull")[".dockerconfigjson"])
    auth = base64.b64encode(f"ci:{CANARY}".encode()).decode()
    assert config == {"auths": {"registry.test": {"username": "ci", "password": CANARY, "auth": auth}}}
    assert "kubernetes.io/dockerconfigjson" in ktool("secret", "list").out


def test_tls_belongs_together(ktool, tmp_path):
    for name in ("one", "two"):
        certificate(tmp_path, name)
    one = ["--cert", tmp_path / "one.crt", "--key", tmp_path / "one.key"]
    assert ktool("create", "secret", "tls", "web", *one).out == "secret/web created\n"
    mixed = ktool("create", "secret", "tls", "bad", "--cert", tmp_path / "one.crt", "--key", tmp_path / "two.key")
    assert mixed.code == 1 and "they do not belong together" in mixed.err
    empty = ktool("create", "secret", "tls", "bad", "--cert", tmp_path / "one.key", "--key", tmp_path / "one.key")
    assert empty.code == 1 and "they are no PEM certificate and plain key" in empty.err
    assert set(data(ktool, "web")) == {"tls.crt", "tls.key"}


def certificate(folder, name: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
    start = datetime.datetime(2026, 1, 1)
    made = builder.not_valid_before(start).not_valid_after(start.replace(year=2036)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / f"{name}.crt").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))


WRONG = {
    "name": (["generic", "Bad_Name", "--from-literal=a=1"], 1, "metadata.name"),
    "key": (["generic", "x", "--from-literal=a b=1"], 2, "the key 'a b' must be letters"),
    "twice": (["generic", "x", "--from-literal=a=1", "--from-literal=a=2"], 2, "the key 'a' is given twice"),
    "no-file": (["generic", "x", "--from-file=/nowhere"], 1, "/nowhere: No such file or directory"),
    "stdin-without-a-key": (["generic", "x", "--from-file=-"], 2, "stdin needs a key: KEY=-"),
    "too-large": (["generic", "x", "--from-literal=a=" + "x" * (1 << 20), "--from-literal=b=1"], 1, "1048576 bytes"),
    "missing-keys": (["generic", "x", "--type=kubernetes.io/tls"], 1, "data[tls.crt]: is required for the type"),
    "no-username": (["docker-registry", "x"], 2, "--docker-username is missing"),
    "half-a-pair": (["tls", "x", "--cert=a"], 2, "--cert and --key must both be given"),
    "exists": (["generic", "db", "--from-literal=a=1"], 1, 'secrets "db" already exists'),
}


@pytest.mark.parametrize(("argv", "code", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_input_stores_nothing(ktool, db, argv, code, expected):
    told = ktool("create", "secret", *argv)
    assert told.code == code and expected in told.err
    assert [line.split()[0] for line in ktool("secret", "list").lines[1:]] == ["db"]
    assert data(ktool) == {"password": CANARY, "user": "a"}


def test_show_and_reveal(ktool, db):
    shown = ktool("secret", "show", "db")
    assert f"password: {len(CANARY)} bytes" in shown.out and CANARY not in shown.out + shown.err
    assert ktool("events").out.count("Revealed") == 0
    assert ktool("secret", "show", "db", "--reveal", "password").out == CANARY
    events = ktool("events").out
    assert "Revealed" in events and "The value of the key password was revealed to" in events and CANARY not in events
    assert "Revealed" in ktool("describe", "secret", "db").out
    missing = ktool("secret", "show", "db", "--reveal", "nope")
    assert (missing.code, missing.err) == (1, "error: secret/db has no key 'nope'; it has password, user\n")


def test_set_and_unset_one_key(ktool, db, stdin):
    stdin(b"typed\n")
    assert ktool("secret", "set", "db", "password").out == "secret/db updated\n"
    assert ktool("secret", "set", "db", "x=1").code == 0
    assert data(ktool) == {"password": "typed", "user": "a", "x": "1"}
    assert ktool("secret", "unset", "db", "user").code == 0
    assert data(ktool) == {"password": "typed", "x": "1"}
    assert "has no key user; it has password, x" in ktool("secret", "unset", "db", "user").err
    assert ktool("secret", "set", "nobody", "x=1").code == 1


EDITOR = """#!{python}
import os, stat, sys
path = sys.argv[1]
assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
mounts = [line.split()[1:3] for line in open("/proc/self/mounts")]
assert max((m for m in mounts if path.startswith(m[0])), key=lambda m: len(m[0]))[1] in ("tmpfs", "ramfs")
text = open(path).read()
open({log!r}, "a").write(path + "\\n")
open(path, "w").write({change})
"""


@pytest.fixture
def editor(tmp_path, monkeypatch):
    def use(change: str) -> None:
        file = tmp_path / "editor"
        file.write_text(EDITOR.format(python=sys.executable, log=str(tmp_path / "log"), change=change))
        file.chmod(0o755)
        monkeypatch.setenv("KUBE_EDITOR", str(file))

    yield use
    for path in (tmp_path / "log").read_text().split():
        assert not os.path.exists(os.path.dirname(path)), "the file must be gone"


def test_edit(ktool, db, editor):
    editor("text.replace('user: a', 'user: b\\n  port: \"80\"')")
    assert ktool("secret", "edit", "db").out == "secret/db edited\n"
    assert data(ktool) == {"password": CANARY, "user": "b", "port": "80"}
    editor("text.replace('  user: b\\n', '')")
    assert ktool("secret", "edit", "db").code == 0
    assert data(ktool) == {"password": CANARY, "port": "80"}
    for change in ("text", "''", "'# nothing'"):
        editor(change)
        told = ktool("secret", "edit", "db")
        assert (told.code, told.err) == (0, "Edit cancelled, no changes made.\n")


def test_an_edit_that_makes_no_sense_changes_nothing(ktool, db, editor):
    editor(f"text if 'must be' in text else text.replace({CANARY!r}, '5551234')")
    told = ktool("secret", "edit", "db")
    assert told.code == 1 and "5551234" not in told.err
    assert "nothing was changed: stringData[password]: must be a string; put quotes around it" in told.err
    assert data(ktool)["password"] == CANARY


def test_copy(ktool, db):
    ktool("apply", "-f", _file(NAMESPACE))
    assert ktool("secret", "copy", "db", "--to-namespace", "shop").out == "secret/db copied to shop\n"
    assert data(ktool, "db", "shop") == data(ktool)
    ktool("secret", "set", "db", "user=b")
    assert "already exists" in ktool("secret", "copy", "db", "--to-namespace", "shop").err
    assert ktool("secret", "copy", "db", "--to-namespace", "shop", "--overwrite").code == 0
    assert data(ktool, "db", "shop")["user"] == "b"
    assert ktool("secret", "copy", "db", "--to-name", "twin").code == 0
    assert ktool("secret", "copy", "db").code == 2


NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
READER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      imagePullSecrets: [{name: db}]
      containers: [{name: web, image: registry.test/web:v1}]
"""


def _file(text: str) -> Path:
    file = app.home().parent / "manifest.yaml"
    file.write_text(text)
    return file


def _pods(ktool) -> set[str]:
    return set(ktool("get", "pods", "-o", "name").lines)


def _pod(name: str, **spec: object) -> dict[str, object]:
    container = {"name": "web", "image": "registry.test/web:v1", "envFrom": [{"secretRef": {"name": "db"}}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], **spec},
    }


def test_usage(ktool, db):
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u", "controller": True}
    owned = {**_pod("owned"), "metadata": {"name": "owned", "ownerReferences": [owner]}}
    store, registry = app.open_registry()
    for obj in (_pod("b", volumes=[{"name": "v", "secret": {"secretName": "db"}}]), _pod("a"), owned):
        registry.create(obj)
    registry.create(next(iter(yaml.safe_load_all(READER))))
    store.close()
    rows = [line.split(None, 1) for line in ktool("secret", "usage", "db").lines]
    assert rows == [
        ["READER", "HOW"],
        ["deployment.apps/web", "imagePullSecrets"],
        ["pod/a", "envFrom, container web"],
        ["pod/b", "volume v"],
        ["pod/b", "envFrom, container web"],
    ]
    shown = ktool("secret", "show", "db").out
    assert "Used By:    deployment.apps/web (imagePullSecrets)" in shown
    nobody = ktool("secret", "usage", "nobody")
    assert nobody.code == 1 and 'secrets "nobody" not found' in nobody.err


def test_rotate_rolls_who_uses_it(cluster):
    ktool = cluster
    assert ktool("secret", "create", "generic", "db", "--from-literal=password=old").code == 0
    applied = ktool("apply", "-f", _file(READER), "--timeout", "60s")
    assert applied.code == 0, applied.err
    before = _pods(ktool)
    done = ktool("secret", "rotate", "db", "--from-literal", f"password={CANARY}", "--timeout", "60s")
    assert (done.code, done.out) == (0, "secret/db updated\ndeployment.apps/web restarted\n"), done.err
    after = _pods(ktool)
    assert after and not after & before
    assert data(ktool) == {"password": CANARY}


# --- sealed ------------------------------------------------------------------------------------------------------


def test_seal_apply_unseal(cluster, tmp_path, stdin):
    ktool = cluster
    plain = ktool(
        "create", "secret", "generic", "db", f"--from-literal=password={CANARY}", "--dry-run=client", "-o", "yaml"
    )
    stdin(plain.out.encode())
    sealed = ktool("secret", "seal")
    assert sealed.code == 0 and "kind: SealedSecret" in sealed.out
    assert CANARY not in sealed.out and B64 not in sealed.out
    file = tmp_path / "sealed.yaml"
    file.write_text(sealed.out)
    applied = ktool("apply", "-f", file)
    assert (applied.code, applied.out) == (0, "sealedsecret.ktool.dev/db created\n"), applied.err
    assert data(ktool) == {"password": CANARY}
    assert ktool("get", "sealedsecrets").lines[1].split()[:2] == ["db", "True"]
    opened = ktool("secret", "unseal", "-f", file)
    assert opened.code == 0 and B64 in opened.out
    assert "was unsealed for" in ktool("events", "-n", "kube-system").out
    # What somebody changes is brought back, and what is deleted comes again.
    ktool("secret", "set", "db", "password=other")
    assert data(ktool) == {"password": CANARY}
    ktool("delete", "secret", "db")
    assert data(ktool) == {"password": CANARY}
    ktool("delete", "sealedsecret", "db")
    assert ktool("get", "secret", "db").code == 1


def test_a_sealed_secret_opens_under_its_own_name_only(cluster, tmp_path):
    ktool = cluster
    public = tmp_path / "key.pub"
    public.write_text(ktool("secret", "seal", "--fetch-key").out)
    assert public.read_text() == ktool("secret", "seal", "--fetch-key").out
    plain = tmp_path / "plain.yaml"
    plain.write_text(MANIFEST)
    file = tmp_path / "sealed.yaml"
    file.write_text(ktool("secret", "seal", "-f", plain, "--key", public).out.replace("name: db", "name: stolen"))
    told = ktool("apply", "-f", file, "--timeout=20s")
    assert told.code == 1
    assert "encryptedData[password] was sealed for another name, namespace, key or cluster" in told.err
    assert ktool("get", "secret", "stolen").code == 1
    assert ktool("get", "sealedsecrets").lines[1].split()[:2] == ["stolen", "False"]


def test_sops_without_sops(ktool, tmp_path, monkeypatch):
    file = tmp_path / "db.yaml"
    file.write_text(MANIFEST.replace(CANARY, "'ENC[AES256_GCM,data:x]'") + "sops:\n    mac: ENC[AES256_GCM,data:y]\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    told = ktool("apply", "-f", file)
    assert told.code == 1
    assert f"{file}: encrypted with SOPS, and there is no `sops` here to decrypt it" in told.err


# --- the key -----------------------------------------------------------------------------------------------------


def test_key_commands(ktool, home):
    assert "none yet; the first Secret makes one" in ktool("secret", "key", "status").out
    assert ktool("secret", "key", "init").code == 0
    status = ktool("secret", "key", "status").out
    assert "Source:    the key file" in status
    assert "there is a secret key already" in ktool("secret", "key", "init").err
    ktool("secret", "create", "generic", "db", f"--from-literal=password={CANARY}")
    done = ktool("secret", "key", "rotate")
    assert done.code == 0 and "1 records encrypted anew" in done.out
    assert data(ktool) == {"password": CANARY}
    assert ktool("secret", "key", "rotate", "--passphrase", "--environment").code == 2


def test_without_its_key_a_cluster_goes_on(cluster, home):
    ktool = cluster
    ktool("secret", "create", "generic", "db", f"--from-literal=password={CANARY}")
    before = ktool("secret", "key", "status").lines[0].split()[1]
    (home / "secret.key").rename(home / "lost")
    for verb in (["get", "secrets"], ["get", "secret", "db"], ["describe", "secret", "db"], ["secret", "list"]):
        told = ktool(*verb)
        assert told.code == 1 and f"the secret key {before} is missing" in told.err, verb
    assert f"the secret key {before} is missing" in ktool("secret", "create", "generic", "x", "--from-literal=a=1").err
    status = ktool("secret", "key", "status")
    assert status.code == 1 and "1 (1 cannot be decrypted)" in status.out
    applied = ktool("apply", "-f", _file(READER.replace("name: db", "name: x")), "--timeout", "60s")
    assert applied.code == 0, applied.err
    assert ktool("get", "pods").code == 0
    gone = ktool("delete", "secret", "db")
    assert gone.code == 0, gone.err
    assert "No resources found" in ktool("get", "secrets").err
