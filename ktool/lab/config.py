"""Configuration files of a lab's machines: the texts below /etc, SSH keys and scripts. lab/lifecycle and lab/machine
write them.
"""

from __future__ import annotations

import functools
import hashlib
import resource
import secrets
import shutil
from importlib import resources
from pathlib import Path

from .host import SYSTEM_PATH, hard_limit, run
from .image import PAUSE
from .layout import (
    PRIVATE_NAME,
    PRIVATE_PORT,
    PRIVATE_USER,
    REGISTRY_NAME,
    SSH_PORT,
    LabError,
    Machine,
    Plan,
    write_file,
)


def script(name: str) -> str:
    """The text of one of this package's shell or Perl scripts."""
    return (resources.files(__package__) / name).read_text()


def write_switch(machine: Machine) -> None:
    """Write the files that the switch's script reads."""
    write_file(machine.directory / "registry.yml", _registry(machine.lab))
    write_file(machine.directory / "private.yml", _private_registry(machine))
    write_file(machine.directory / "htpasswd", _htpasswd(machine.lab), 0o600)
    _write_scripts(machine, "enter.sh", "switch.sh")


def write_node(machine: Machine) -> None:
    """Write a node's own files. Keys are made once; everything else is rewritten for this version of ktool."""
    lab, top = machine.lab, machine.directory
    for directory in ("rootfs", "disk", "containers", "var-lib-ktool", "etc-containers", "etc/ssh", "etc/ktool-lab"):
        (top / directory).mkdir(parents=True, exist_ok=True)
    _write_scripts(machine, "enter.sh", "node.sh")
    make_key(top / "etc/ssh/ssh_host_ed25519_key", machine.name)
    public = lab.identity.with_suffix(".pub").read_text()
    write_file(top / "etc/ktool-lab/authorized_keys", public, 0o600)
    write_file(top / "etc/ktool-lab/init", script("init.sh"))
    write_file(top / "etc/ktool-lab/node", _node(machine))
    write_file(top / "etc/hostname", machine.name + "\n")
    write_file(top / "etc/hosts", _hosts(machine))
    write_file(top / "etc/resolv.conf", "")
    write_file(top / "etc/machine-id", hashlib.sha256(str(top).encode()).hexdigest()[:32] + "\n")
    write_file(top / "etc/ssh/sshd_config", _sshd(machine))
    for name, text in (
        ("containers.conf", _containers()),
        ("storage.conf", _STORAGE),
        ("registries.conf", _registries(lab)),
        ("policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}\n'),
    ):
        write_file(top / "etc-containers" / name, text)


def make_key(path: Path, comment: str) -> None:
    """An ed25519 key pair, created once."""
    if not path.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def host_key(machine: Machine) -> str:
    """Type and key of the node's sshd, in the form known_hosts has after the host name."""
    line = (machine.directory / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    return " ".join(line.split()[:2])


def _write_scripts(machine: Machine, *names: str) -> None:
    for name in names:
        write_file(machine.directory / name, script(name))


def _node(machine: Machine) -> str:
    lab, gateway = machine.lab, machine.lab.link_gateway(machine.link_number)
    return f"NAME={machine.name}\nADDRESS={machine.address}\nPREFIX={lab.prefix}\nGATEWAY={gateway}\n"


def _hosts(machine: Machine) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines.append(f"{machine.lab.gateway} {REGISTRY_NAME} {PRIVATE_NAME}")
    lines += [f"{other.address} {other.name}" for other in machine.lab.machines if not other.is_switch]
    return "\n".join(lines) + "\n"


def _sshd(machine: Machine) -> str:
    # MaxSessions and MaxStartups stay at sshd's defaults: these are what ktool meets on other people's machines.
    return f"""ListenAddress {machine.address}
Port {SSH_PORT}
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ktool-lab/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
AllowStreamLocalForwarding yes
PidFile /run/sshd.pid
PrintMotd no
{_no_penalties()}"""


@functools.cache
def _no_penalties() -> str:
    """sshd options against PerSourcePenalties: OpenSSH 9.8 and later block addresses that connect without logging in,
    as `status` does."""
    argv = ("-t", "-f", "/dev/null", "-o", "PerSourcePenalties=no")
    try:
        text = run("/usr/sbin/sshd", *argv)
    except LabError as error:
        text = str(error)  # /dev/null names no host key, so this is the usual way
    return "" if "Bad configuration option" in text else "PerSourcePenalties no\n"


def _containers() -> str:
    runtime = shutil.which("crun", path=SYSTEM_PATH)
    files, processes = hard_limit(resource.RLIMIT_NOFILE, 1048576), hard_limit(resource.RLIMIT_NPROC, 4194304)
    # Soft equal to hard: Podman 4.3.1's API swaps the two. Without CAP_SYS_RESOURCE nothing above the hard limit works.
    return f"""[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
infra_image = "{PAUSE}"
runtime = "crun"
[engine.runtimes]
crun = ["{runtime}"]
[network]
network_backend = "netavark"
"""


_STORAGE = """[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""


def _registries(lab: Plan) -> str:
    return f"""unqualified-search-registries = []
[[registry]]
prefix = "{REGISTRY_NAME}"
location = "{lab.registry}"
insecure = true
[[registry]]
location = "{PRIVATE_NAME}"
insecure = true
"""


def _registry(lab: Plan) -> str:
    return f"""version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: "{lab.directory}/registry/data"
  delete:
    enabled: true
http:
  addr: {lab.registry}
"""


def _private_registry(machine: Machine) -> str:
    """Configuration of the private registry: the same images, read-only, behind a password."""
    lab = machine.lab
    return f"""version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: "{lab.directory}/registry/data"
  maintenance:
    readonly:
      enabled: true
auth:
  htpasswd:
    realm: {PRIVATE_NAME}
    path: "{machine.directory}/htpasswd"
http:
  addr: {lab.gateway}:{PRIVATE_PORT}
"""


_BCRYPT = "use strict; my ($salt, $password) = <STDIN> =~ /(\\S+) (\\S+)/; print crypt($password, $salt)"


def _htpasswd(lab: Plan) -> str:
    """The htpasswd line of the one user; the password is created once. docker-registry accepts only bcrypt, which
    crypt(5) can do."""
    path = lab.password_file
    if not path.exists():
        write_file(path, secrets.token_urlsafe(18) + "\n", 0o600)
    salt = "$2b$05$" + "".join(secrets.choice(_SALT) for _ in range(21)) + "."
    line = run("/usr/bin/perl", "-e", _BCRYPT, text=f"{salt} {path.read_text().strip()}\n")
    if not line.startswith("$2b$"):
        raise LabError("This system's crypt(3) knows no bcrypt, which the lab's private registry needs.")
    return f"{PRIVATE_USER}:{line}\n"


_SALT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./"
