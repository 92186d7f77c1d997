"""Value sources of ConfigMaps and Secrets: literals, files, env files, stdin and a hidden prompt.

`create` and `secret` use them. The rules are kubectl's (k8s.io/kubectl/pkg/generate, HandleFromLiteralSources and its
neighbours). Beyond them a literal without `=` is asked for, and `-` is stdin, so that a value need not stand in a
shell's history.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.masked import Masked
from ktool.api.rules import names

MOST = 2 * 1024 * 1024
"""Bytes that are read at most; a Secret or ConfigMap holds half of that."""

FromLiteral = Annotated[
    list[str] | None,
    typer.Option(
        "--from-literal", metavar="KEY=VALUE|KEY", help="A value; without = it is asked for, or read from stdin."
    ),
]
FromFile = Annotated[
    list[str] | None,
    typer.Option("--from-file", metavar="[KEY=]FILE", help="A file, the files of a folder, or KEY=- for stdin."),
]
FromEnvFile = Annotated[
    list[str] | None,
    typer.Option("--from-env-file", metavar="FILE", help="A file with lines KEY=VALUE, or - for stdin."),
]


def values(
    literals: Sequence[str] | None, files: Sequence[str] | None, env_files: Sequence[str] | None
) -> dict[str, Masked]:
    """All of them by key. UsageError for one that makes no sense, UserError for a file that cannot be read; no message
    holds a value."""
    found: dict[str, Masked] = {}
    for key, value in (*_files(files or ()), *_env_files(env_files or ()), *_literals(literals or ())):
        if key in found:
            raise UsageError(f"the key {key!r} is given twice")
        if problem := names.config_key(key):
            raise UsageError(f"the key {key!r} {problem}")
        found[key] = value
    return found


def _literals(given: Iterable[str]) -> Iterator[tuple[str, Masked]]:
    for text in given:
        key, equals, value = text.partition("=")
        if not key:
            raise UsageError("--from-literal: KEY=VALUE or KEY expected")
        yield key, Masked(value.encode("utf-8", "surrogateescape")) if equals else asked(key)


def _files(given: Iterable[str]) -> Iterator[tuple[str, Masked]]:
    for text in given:
        key, equals, path = text.partition("=")
        if not equals:
            key, path = "", text
        if not path or (equals and not key):
            raise UsageError("--from-file: FILE, FOLDER or KEY=FILE expected")
        if path == "-":
            if not key:
                raise UsageError("--from-file: stdin needs a key: KEY=-")
            yield key, Masked(_stdin())
        elif Path(path).is_dir():
            if key:
                raise UsageError(f"--from-file: {path} is a folder; its files have their names as keys")
            for file in sorted(Path(path).iterdir()):
                if file.is_file() and not names.config_key(file.name):
                    yield file.name, Masked(read(str(file)))
        else:
            yield key or Path(path).name, Masked(read(path))


def _env_files(given: Iterable[str]) -> Iterator[tuple[str, Masked]]:
    for path in given:
        data = _stdin() if path == "-" else read(path)
        where = "<stdin>" if path == "-" else path
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise UserError(f"{where}: not UTF-8 text") from None
        for number, line in enumerate(text.splitlines(), 1):
            line = line.lstrip()
            if not line or line.startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if problem := names.env_name(key):
                raise UserError(f"{where}:{number}: the name of a variable {problem}")
            if not equals:
                value = os.environ.get(key, "")  # kubectl: a name alone stands for the variable of this process
            yield key, Masked(value.encode("utf-8", "surrogateescape"))


def read(path: str) -> bytes:
    """A file's content. UserError where it cannot be had."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MOST + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MOST:
        raise UserError(f"{path}: larger than {MOST >> 20} MiB; a Secret or ConfigMap holds 1 MiB")
    return data


def asked(key: str) -> Masked:
    """A value typed by a person without being shown, or the first line of stdin where nobody is there."""
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(MOST)
        if not line:
            raise UserError(f"no value for {key}: give it on stdin, as KEY=VALUE, or type it in a terminal")
        return Masked(line.rstrip(b"\r\n"))
    import getpass

    return Masked(getpass.getpass(f"{key}: ").encode("utf-8", "surrogateescape"))


def _stdin() -> bytes:
    data = sys.stdin.buffer.read(MOST + 1)
    if len(data) > MOST:
        raise UserError(f"stdin: larger than {MOST >> 20} MiB; a Secret or ConfigMap holds 1 MiB")
    return data
