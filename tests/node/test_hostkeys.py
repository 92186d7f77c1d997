"""known_hosts as sshd(8) describes it; the hashed lines were made by ssh-keygen -H."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ktool.node.reach import hostkeys


def _key(kind: str, seed: int) -> str:
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


ED1, ED2, EC1 = _key("ssh-ed25519", 1), _key("ssh-ed25519", 2), _key("ecdsa-sha2-nistp256", 3)


def _blob(text: str) -> bytes:
    return base64.b64decode(text.split()[1])


@pytest.mark.parametrize(
    ("patterns", "host", "port", "expected"),
    [
        pytest.param("web1", "web1", 22, True, id="plain"),
        pytest.param("web1", "WEB1", 22, True, id="case"),
        pytest.param("web1,10.0.0.1", "10.0.0.1", 22, True, id="list"),
        pytest.param("web1", "web1", 2222, False, id="plain-says-nothing-about-another-port"),
        pytest.param("[web1]:2222", "web1", 2222, True, id="port"),
        pytest.param("[web1]:2222", "web1", 22, False, id="port-says-nothing-about-22"),
        pytest.param("[web1]:2222", "w", 2222, False, id="brackets-are-no-character-class"),
        pytest.param("*.example.org", "a.example.org", 22, True, id="star"),
        pytest.param("web?", "web1", 22, True, id="question-mark"),
        pytest.param("web?", "web12", 22, False, id="question-mark-is-one"),
        pytest.param("*,!web1", "web1", 22, False, id="negated"),
        pytest.param("*,!web1", "web2", 22, True, id="not-negated"),
        pytest.param("[fe80::1]:2222", "fe80::1", 2222, True, id="ipv6"),
        pytest.param("|1|vMH7TrfmvEOM9wSUJPXDTVXKjNU=|AAAA", "web1", 22, False, id="hashed-other"),
        pytest.param("|2|x|y", "web1", 22, False, id="unknown-hash"),
    ],
)
def test_which_hosts_a_line_speaks_of(patterns: str, host: str, port: int, expected: bool) -> None:
    entries = hostkeys.parse(f"{patterns} {ED1}\n", "f")
    assert bool(hostkeys.of_host(entries, host, port)) is expected


@pytest.mark.parametrize(("host", "port"), [("web1.example.org", 22), ("10.0.0.7", 2222)])
def test_hashed_lines_of_ssh_keygen(tmp_path: Path, host: str, port: int) -> None:
    import shutil
    import subprocess

    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen")
    file = tmp_path / "known_hosts"
    file.write_text(f"{hostkeys.lookup_name(host, port)} {ED1}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    entries = hostkeys.read([file])
    assert hostkeys.judge(hostkeys.of_host(entries, host, port), _blob(ED1)).ok
    assert not hostkeys.of_host(entries, host, port + 1)


@pytest.mark.parametrize(
    ("lines", "shown", "ok", "reason", "line"),
    [
        pytest.param("", ED1, False, "unknown", None, id="nothing-known"),
        pytest.param(f"h {ED1}", ED1, True, "", None, id="known"),
        pytest.param(f"h {ED2}", ED1, False, "changed", 1, id="changed"),
        pytest.param(f"h {EC1}\nh {ED2}", ED1, False, "changed", 2, id="changed-names-the-line-of-the-same-type"),
        pytest.param(f"h {EC1}", ED1, False, "changed", 1, id="another-type-is-no-reason-to-trust"),
        pytest.param(f"h {ED2}\nh {ED1}", ED1, True, "", None, id="two-keys"),
        pytest.param(f"h {ED1}\n@revoked h {ED1}", ED1, False, "revoked", 2, id="revoked"),
        pytest.param(f"@cert-authority h {ED1}", ED1, False, "unknown", None, id="authority-is-no-host-key"),
        pytest.param(f"# h {ED1}\n\nnonsense\nh ssh-ed25519 !!!\n", ED1, False, "unknown", None, id="broken-lines"),
        pytest.param(f"@future h {ED1}", ED1, False, "unknown", None, id="unknown-marker"),
    ],
)
def test_what_a_key_means(lines: str, shown: str, ok: bool, reason: str, line: int | None) -> None:
    entries = hostkeys.of_host(hostkeys.parse(lines, "f"), "h", 22)
    verdict = hostkeys.judge(entries, _blob(shown))
    assert (verdict.ok, verdict.reason, verdict.entry and verdict.entry.line) == (ok, reason, line)


def test_a_fingerprint_is_what_ssh_keygen_prints() -> None:
    blob = _blob(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    )  # GitHub's, published at docs.github.com
    assert hostkeys.fingerprint(blob) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


@pytest.mark.parametrize("text", ["", "ssh-ed25519", "ssh-ed25519 ???", f"ssh-rsa {ED1.split()[1]}"])
def test_a_pin_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a public key"):
        hostkeys.pinned(text)


def test_a_pin_is_read_with_its_comment() -> None:
    assert hostkeys.text_of(hostkeys.pinned(f"{ED1} root@web1").blob) == ED1
