"""SSH host certificates: keys signed by an authority that a "@cert-authority" line trusts (OpenSSH's
PROTOCOL.certkeys).

node/reach/handshake verifies them.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Sequence
from dataclasses import dataclass

import paramiko

from ktool.node.reach.hostkeys import Entry, fingerprint, key_type

SUFFIX = "-cert-v01@openssh.com"
_HOST = 2
_PUBLIC_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-sha2-nistp256": 2, "ecdsa-sha2-nistp384": 2}
_PUBLIC_FIELDS["ecdsa-sha2-nistp521"] = 2


class CertificateRefused(Exception):
    """A certificate that is not trusted for this host; the message is one sentence."""


@dataclass(frozen=True)
class Certificate:
    """The fields of a certificate. Times are epoch seconds; `signed` is the signed part."""

    kind: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: bytes
    authority: bytes
    signed: bytes
    signature: bytes


def parse(blob: bytes) -> Certificate:
    """Raises CertificateRefused where the bytes are no certificate of a known type."""
    message = paramiko.Message(blob)
    base = message.get_text().removesuffix(SUFFIX)
    if base not in _PUBLIC_FIELDS:
        raise CertificateRefused(f"certificates for {base} keys are not supported")
    message.get_binary()  # nonce
    for _ in range(_PUBLIC_FIELDS[base]):
        message.get_binary()
    message.get_int64()  # serial
    kind = message.get_int()
    message.get_binary()  # key id
    principals = paramiko.Message(message.get_binary())
    after, before = message.get_int64(), message.get_int64()
    critical = message.get_binary()
    message.get_binary()  # extensions
    message.get_binary()  # reserved
    authority = message.get_binary()
    signed = message.get_so_far()
    names = []
    while principals.get_remainder():
        names.append(principals.get_text())
    return Certificate(kind, tuple(names), after, before, critical, authority, signed, message.get_binary())


def check(blob: bytes, entries: Sequence[Entry], host: str) -> None:
    """Raises CertificateRefused unless one of the host's marked lines trusts the authority, the signature is valid, and
    the certificate is valid for this host today. `entries` are the host's lines with a marker."""
    certificate = parse(blob)
    who = f"its authority {key_type(certificate.authority)} {fingerprint(certificate.authority)}"
    revoked = next((e for e in entries if e.marker == "@revoked" and e.blob == certificate.authority), None)
    if revoked is not None:
        raise CertificateRefused(f"{who} is revoked by {revoked.where}")
    if not any(e.marker == "@cert-authority" and e.blob == certificate.authority for e in entries):
        raise CertificateRefused(f"no @cert-authority line trusts {who}")
    if certificate.kind != _HOST:
        raise CertificateRefused("it is a user's certificate")
    if certificate.critical:
        raise CertificateRefused("it has critical options, which host certificates must not have")
    if not certificate.valid_after <= time.time() < certificate.valid_before % (1 << 64):
        raise CertificateRefused("it is not valid at this time")
    # No principals means every host (PROTOCOL.certkeys); ssh(1) matches them as patterns.
    if certificate.principals and not any(fnmatch.fnmatchcase(host.lower(), p.lower()) for p in certificate.principals):
        raise CertificateRefused(f"it is for {', '.join(certificate.principals)}")
    if not _signed(certificate):
        raise CertificateRefused(f"the signature of {who} does not hold")


def _signed(certificate: Certificate) -> bool:
    try:
        key = paramiko.PKey.from_type_string(key_type(certificate.authority), certificate.authority)
        return bool(key.verify_ssh_sig(certificate.signed, paramiko.Message(certificate.signature)))
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError):
        return False
