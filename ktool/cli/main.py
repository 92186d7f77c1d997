"""`ktool`: the table of verbs, and the one place where every error ends."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from ktool.api.errors import DONE, ERROR, INTERRUPTED, USAGE, UsageError
from ktool.cli.plumbing import errors, known
from ktool.cli.plumbing.command import VerbGroup, global_params
from ktool.cli.table import COMMANDS, SECTIONS, load


class LazyGroup(VerbGroup):
    """The root. A verb's module is imported when the verb is used, and no other."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += global_params()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else "; `ktool --help` lists them"
            raise UsageError(f"unknown command {name!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for section in SECTIONS:
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section])


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`ktool VERB --help` has the options and examples of a verb.",
)


@app.callback(invoke_without_command=True)
def root(ctx: typer.Context) -> None:
    """Kubernetes' operations on plain Linux machines: SSH, Podman and your YAML."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def run(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code; whatever goes wrong becomes a sentence on stderr."""
    known.forget()
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["__complete"]:
        from ktool.cli.complete.answer import answer

        return answer(words[1:])
    command = typer.main.get_command(app)
    try:
        code = command.main(args=argv, prog_name="ktool", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        code = ERROR
    except (typer.Abort, EOFError):
        code = INTERRUPTED
    except _CLICK_ERROR as error:
        code = _usage(error)
    except (Exception, errors.Terminated) as error:
        code = errors.report(error, _home())
    if code == INTERRUPTED:
        print("interrupted", file=sys.stderr)
    return code if isinstance(code, int) else DONE


# typer brings its own copy of click since 0.20 or so; the classes are found by way of one that is exported.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]


def _usage(error: Any) -> int:
    """A wrong command line, in kubectl's form."""
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message)
        return DONE
    print(f"error: {message[:1].lower()}{message[1:]}", file=sys.stderr)
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"See '{context.command_path} --help' for usage.", file=sys.stderr)
    return USAGE


def _home() -> Path:
    try:
        from ktool import app as composition

        return composition.home()
    except Exception:  # A broken composition root must not hide the error that is being told.
        return Path(os.environ.get("KTOOL_HOME") or Path.home() / ".local/state/ktool")


def _forget_stdout() -> None:
    """Nobody reads our output any more: keep the interpreter from complaining when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_sigterm(signum: int, frame: object) -> NoReturn:
    raise errors.Terminated


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, _on_sigterm)
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(code)
