"""Every program that a test or a benchmark starts on this machine or on a node, and the Debian package it comes from.

    python3 tests/programs.py [--bench]     the packages that are missing here, one a line

Nothing but the standard library, so that it runs before anything is installed. What the lab itself needs is in
`ktool.lab`. A test in tests/arch fails for a program that is started and is not here."""

from __future__ import annotations

import shutil
import sys

TESTS = {
    "bash": "bash",
    "bridge": "iproute2",
    "busybox": "busybox-static",
    "cat": "coreutils",
    "chmod": "coreutils",
    "cp": "coreutils",
    "cut": "coreutils",
    "dash": "dash",
    "date": "coreutils",
    "dig": "bind9-dnsutils",
    "dnsmasq": "dnsmasq-base",
    "fish": "fish",
    "grep": "grep",
    "head": "coreutils",
    "hostname": "hostname",
    "id": "coreutils",
    "install": "coreutils",
    "ip": "iproute2",
    "ls": "coreutils",
    "mkdir": "coreutils",
    "mknod": "coreutils",
    "mount": "mount",
    "mv": "coreutils",
    "nft": "nftables",
    "nsenter": "util-linux",
    "perl": "perl-base",
    "pgrep": "procps",
    "pkill": "procps",
    "podman": "podman",
    "printf": "coreutils",
    "ps": "procps",
    "rm": "coreutils",
    "sed": "sed",
    "seq": "coreutils",
    "sh": "dash",
    "sleep": "coreutils",
    "ssh": "openssh-client",
    "ssh-add": "openssh-client",
    "ssh-agent": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ssh-keyscan": "openssh-client",
    "sshd": "openssh-server",
    "stat": "coreutils",
    "test": "coreutils",
    "touch": "coreutils",
    "tr": "coreutils",
    "true": "coreutils",
    "umount": "mount",
    "unshare": "util-linux",
    "useradd": "passwd",
    "usermod": "passwd",
    "wg": "wireguard-tools",
    "wget": "wget",
    "zsh": "zsh",
}
BENCH = {"iperf3": "iperf3", "python3": "python3", "wrk": "wrk"}
"""Only the benchmark's."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(programs: dict[str, str]) -> list[str]:
    """The packages of those that are not here."""
    return sorted({package for program, package in programs.items() if not shutil.which(program, path=SYSTEM_PATH)})


if __name__ == "__main__":
    print(*missing(TESTS | BENCH if "--bench" in sys.argv else TESTS), sep="\n")
