"""SOPS decryption: manifests encrypted with SOPS are piped through this machine's `sops` before parsing. manifests/load
calls it.
"""

from __future__ import annotations

import re

from ktool.api.errors import UserError

SECONDS = 60.0
"""sops may ask a key service over the network."""

_YAML = re.compile(r"^sops:[ \t]*$", re.MULTILINE)
_JSON = re.compile(r'^\s*"sops"\s*:\s*\{', re.MULTILINE)


def encrypted(text: str) -> bool:
    """Whether the text carries SOPS' metadata, which is a top-level member beside those of the object."""
    return "sops" in text and "ENC[AES256_GCM," in text and bool(_YAML.search(text) or _JSON.search(text))


def decrypted(file: str, text: str) -> str:
    """The decrypted text in the same format. UserError where `sops` is missing or fails."""
    import subprocess

    form = "json" if text.lstrip().startswith("{") else "yaml"
    argv = ["sops", "--decrypt", "--input-type", form, "--output-type", form, "/dev/stdin"]
    try:
        done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise UserError(f"{file}: encrypted with SOPS, and there is no `sops` here to decrypt it: install it") from None
    except OSError as error:
        raise UserError(f"{file}: encrypted with SOPS, and `sops` cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{file}: encrypted with SOPS, and `sops` did not decrypt it in {SECONDS:g} s") from None
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise UserError(
            f"{file}: `sops` cannot decrypt it (exit code {done.returncode}): {said[:400] or 'no reason given'}"
        )
    return done.stdout.decode()
