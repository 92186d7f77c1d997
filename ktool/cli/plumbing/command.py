"""Verb: the command class of every verb. It knows the global options, kubectl's `--flag=false`, and starts fast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ktool.api.errors import UsageError
from ktool.cli.plumbing import known
from ktool.cli.plumbing.durations import seconds

if TYPE_CHECKING:
    from ktool.app import Session

DEFAULT_LOCK_TIMEOUT = "60s"


@dataclass
class Settings:
    """The global options, wherever on the line they stood."""

    chosen_namespace: str = ""
    lock_timeout: str = DEFAULT_LOCK_TIMEOUT
    debug: bool = False

    @property
    def namespace(self) -> str:
        """-n, else KTOOL_NAMESPACE, else `default`."""
        return self.chosen_namespace or os.environ.get("KTOOL_NAMESPACE", "") or "default"


def settings(ctx: typer.Context) -> Settings:
    root = ctx.find_root()
    if not isinstance(root.obj, Settings):
        root.obj = Settings()
    return root.obj


@contextmanager
def session(ctx: typer.Context, *, act: bool) -> Iterator[Session]:
    """The client for this command. `act`: the command changes something, so a control plane must be there: a server,
    or this very process (then `session.acting`, and the command waits for convergence before it leaves)."""
    from ktool import app
    from ktool.cli.plumbing import crashlog

    chosen = settings(ctx)
    crashlog.keep(app.home(), debug=chosen.debug)
    patience = seconds(chosen.lock_timeout, "--lock-timeout")
    with app.session(act=act, lock_timeout=patience, on_lost=app.end_at_once, known=known.kinds()) as found:
        yield found


def _keep_namespace(ctx: typer.Context, value: str | None) -> str | None:
    if value:
        settings(ctx).chosen_namespace = value
    return value


def _keep_lock_timeout(ctx: typer.Context, value: str | None) -> str | None:
    if value:
        seconds(value, "--lock-timeout")
        settings(ctx).lock_timeout = value
    return value


def _keep_debug(ctx: typer.Context, value: bool) -> bool:
    if value and not settings(ctx).debug:
        settings(ctx).debug = True
        import logging

        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
        logging.getLogger("ktool").setLevel(logging.DEBUG)
    return value


def _global_options(
    namespace: Annotated[
        str | None,
        typer.Option(
            "-n",
            "--namespace",
            metavar="NAME",
            help="Namespace to work in (env: KTOOL_NAMESPACE; else default).",
            callback=_keep_namespace,
            expose_value=False,
            show_default=False,
        ),
    ] = None,
    lock_timeout: Annotated[
        str | None,
        typer.Option(
            "--lock-timeout",
            metavar="DURATION",
            help=f"How long to wait for another command that is at work ({DEFAULT_LOCK_TIMEOUT}).",
            callback=_keep_lock_timeout,
            expose_value=False,
            show_default=False,
        ),
    ] = None,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Say on stderr what is being done.", callback=_keep_debug, expose_value=False),
    ] = False,
) -> None:
    """Only its parameters are used: they are added to every verb, so that kubectl's habit of writing global options
    before or after the verb works."""


def global_params() -> list[Any]:
    carrier = typer.Typer(add_completion=False, rich_markup_mode=None)
    carrier.command()(_global_options)
    return [_coerce_plainly(param) for param in typer.main.get_command(carrier).params]


class _Plain:
    """Converts str, bool, int and lists of str. Typer 0.29 does it through pydantic, whose import alone takes longer
    than the rest of a `get`; older Typers have no such member and never look at it."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self.annotation is int:
            try:
                return int(value)
            except ValueError:
                raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None
        if self.annotation is bool:
            return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
        return value


def _coerce_plainly(param: Any) -> Any:
    """The same parameter, converted by _Plain from now on where that can."""
    annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    if annotation in (str, int, bool, list[str]):
        param._runtime_param = _Plain(annotation)
    return param


class VerbGroup(TyperGroup):
    """A verb with verbs of its own, such as `node`, and the root."""

    def get_help_option(self, ctx: Any) -> Any:
        return _coerce_plainly(super().get_help_option(ctx))


class ActingGroup(VerbGroup):
    """A verb with verbs of its own that also does something by itself, such as `create -f`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            _coerce_plainly(param)
        self.params += global_params()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, go_style(self.params, args))


class Verb(TyperCommand):
    """A leaf command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings.setdefault("help_option_names", ["-h", "--help"])
        for param in self.params:
            _coerce_plainly(param)
        taken = {option for param in self.params for option in getattr(param, "opts", ())}
        self.params += [param for param in global_params() if not taken & set(param.opts)]

    def get_help_option(self, ctx: Any) -> Any:
        return _coerce_plainly(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, go_style(self.params, args))


def go_style(params: Sequence[Any], args: Sequence[str]) -> list[str]:
    """The arguments with Go's ways of writing options turned into ours: `--wait=false`, `--watch=true`, `-n=name`."""
    flags, shorts = {}, set()
    for param in params:
        for option in getattr(param, "opts", ()):
            if getattr(param, "is_flag", False):
                flags[option] = (param.opts[0], (param.secondary_opts or [""])[0])
            elif len(option) == 2 and option.startswith("-"):
                shorts.add(option)
    result: list[str] = []
    for index, arg in enumerate(args):
        if arg == "--":
            return result + list(args[index:])
        option, equals, value = arg.partition("=")
        if equals and option in flags:
            yes, no = flags[option]
            if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise UsageError(f"{option} takes true or false, not {value!r}")
            chosen = yes if value.lower() in ("true", "1", "t") else no
            result += [chosen] if chosen else []
        elif equals and option in shorts:
            result += [option, value]
        else:
            result.append(arg)
    return result


def verbs(help: str = "", *, cls: type[VerbGroup] = VerbGroup, **kwargs: Any) -> typer.Typer:
    """A Typer app for one module of verbs, plain in its output."""
    return typer.Typer(
        cls=cls,
        help=help or None,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        **kwargs,
    )


def examples(text: str) -> str:
    """The example section of a verb's help: lines kept as they are."""
    lines = [f"  {line}".rstrip() for line in text.strip().splitlines()]
    return "\b\nExamples:\n" + "\n".join(line or "  " for line in lines)
