"""What a fresh machine is given: every program that is started is declared, every library is locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests import programs
from tests.arch.programscan import TESTS, commands, scan

ROOT = Path(__file__).parents[2]
FILES = sorted(TESTS.rglob("*.py"))
BENCH = [path for path in FILES if path.parent.name == "bench"]

NONE = {"apply": "a verb of ktool's", "no-such-program-here": "not there on purpose"}


def undeclared(found: dict[str, str], declared: dict[str, str]) -> dict[str, str]:
    return {name: place for name, place in found.items() if name not in declared | NONE}


def test_every_program_that_a_test_starts_is_declared() -> None:
    found, unread = scan([path for path in FILES if path not in BENCH])
    assert unread == [], "written so that tests/arch/programscan.py cannot read which program is started"
    assert undeclared(found, programs.TESTS) == {}, "add it to tests/programs.py"
    assert set(found) > {"dig", "ssh", "ps", "podman", "unshare", "nft"}, "or the scan has gone blind"


def test_every_program_that_a_benchmark_starts_is_declared() -> None:
    found, unread = scan(BENCH)
    assert unread == []
    assert undeclared(found, programs.TESTS | programs.BENCH) == {}
    assert set(found) > {"iperf3", "wrk", "nsenter"}


def test_what_nobody_starts_is_not_declared() -> None:
    found, _ = scan(FILES)
    assert sorted((programs.TESTS | programs.BENCH).keys() - found.keys()) == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("dig +short a | sort; ls", ["dig", "sort", "ls"]),
        ("A=1 nsenter -t 1 --net ip link && echo $(cat /x)", ["cat", "nsenter", "ip"]),
        ('[ -z "$(curl -s "$url")" ] || exit 1', ["curl"]),
        ("for x in one two; do jq . <$x; done 2>/dev/null", ["jq"]),
        ("until wget -q x; do sleep 1; done", ["wget", "sleep"]),
        ("echo 'tcpdump; strace'; i=$((i+1))", []),
        ("f() { openssl rand 1; }; f", ["openssl"]),
        ("exec timeout -s KILL 3 socat - x", ["timeout", "socat"]),
    ],
)
def test_commands_of_a_shell_text(script: str, expected: list[str]) -> None:
    assert list(commands(script)) == expected


# --- libraries ---------------------------------------------------------------------------------------------------

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME, DEV = PROJECT["dependencies"], PROJECT["optional-dependencies"]["dev"]


def locked(name: str) -> dict[str, str]:
    """Version by library."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / name).read_text(), re.MULTILINE))


def numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


@pytest.mark.parametrize(
    ("lock", "asked"), [("requirements.lock", RUNTIME), ("requirements-dev.lock", RUNTIME + DEV)], ids=["run", "dev"]
)
def test_what_is_asked_for_is_locked(lock: str, asked: list[str]) -> None:
    have = locked(lock)
    for requirement in [*asked, "setuptools>=65"]:
        name, _, least = requirement.partition(">=")
        assert numbers(have[name.lower()]) >= numbers(least), f"{requirement}: run `sh tools/lock`"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    entries = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 20
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_both_locks_have_the_same_versions() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
