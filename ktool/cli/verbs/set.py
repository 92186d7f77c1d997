"""`ktool set`: image and resources here, env in a module of its own."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ktool.api.errors import UsageError, UserError
from ktool.api.kind import Kind
from ktool.api.obj import Obj, get
from ktool.api.pod import CONTAINER_GROUPS, containers_in
from ktool.api.units import quantity
from ktool.cli.plumbing import options
from ktool.cli.plumbing.command import Verb, examples, verbs
from ktool.cli.plumbing.podtemplates import Changes, Meant, chosen, split
from ktool.cli.verbs import set_env

app = verbs("Change images, environment or resources of a workload.", no_args_is_help=True)

IMAGE = """
ktool set image deploy/web web=registry.lab/web:v2
ktool set image deploy/web web=web:v2 log=log:v5
ktool set image deploy '*=registry.lab/web:v2' -l tier=front
"""
RESOURCES = """
ktool set resources deploy/web --requests=cpu=100m,memory=64Mi --limits=memory=128Mi
ktool set resources deploy/web -c=web --limits=cpu=0        # no limit any more
"""


@app.callback()
def set_() -> None:
    """Change images, environment or resources of a workload."""


app.command("env", cls=Verb, epilog=examples(set_env.EXAMPLES))(set_env.env)


@app.command("image", cls=Verb, epilog=examples(IMAGE))
def image(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="KIND/NAME... CONTAINER=IMAGE...", show_default=False)],
    selector: options.Selector = "",
    every: options.Every = False,
    dry_run: options.DryRun = "none",
    wait: options.Wait = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Change the images of containers; `*` is every one of them."""
    resources, updates = split(words)
    if not updates:
        raise UsageError("at least one image update is required, e.g. web=registry.lab/web:v2")
    images = {container: text for container, _, text in (update.partition("=") for update in updates)}
    if wrong := [container for container, text in images.items() if not container or not text]:
        raise UsageError(f"{wrong[0]!r} needs an image: CONTAINER=IMAGE")

    def change(kind: Kind, obj: Obj, spec: Obj) -> Changes:
        known = {container["name"] for container in containers_in(spec)}
        for container in images.keys() - {"*"} - known:
            raise UserError(f'unable to find container named "{container}"')
        changes: Changes = {}
        for group in CONTAINER_GROUPS:
            for container in spec.get(group) or ():
                wanted = images.get(container["name"], images.get("*", container.get("image")))
                if wanted != container.get("image"):
                    changes.setdefault(group, []).append({"name": container["name"], "image": wanted})
        return changes

    return Meant(resources, selector, every, dry_run, wait, timeout).change(ctx, change, "image updated")


@app.command("resources", cls=Verb, epilog=examples(RESOURCES))
def resources(
    ctx: typer.Context,
    words: options.Resources = None,
    limits: Annotated[str, typer.Option("--limits", metavar="NAME=AMOUNT,...", help="Limits to set.")] = "",
    requests: Annotated[str, typer.Option("--requests", metavar="NAME=AMOUNT,...", help="Requests to set.")] = "",
    containers: options.Containers = "*",
    selector: options.Selector = "",
    every: options.Every = False,
    dry_run: options.DryRun = "none",
    wait: options.Wait = False,
    timeout: options.Timeout = "10m",
) -> int:
    """Change what containers ask for and may use. What is not named stays; 0 takes one away."""
    amounts = {"limits": _amounts(limits, "--limits"), "requests": _amounts(requests, "--requests")}
    wanted = {which: found for which, found in amounts.items() if found}
    if not wanted:
        raise UsageError("you must specify an update to requests or limits (in the form of --requests/--limits)")

    def change(kind: Kind, obj: Obj, spec: Obj) -> Changes:
        found = {group: chosen(spec, group, containers) for group in CONTAINER_GROUPS}
        if not any(found.values()):
            raise UserError(f"unable to find container named {containers}")
        return {
            group: [{"name": one["name"], "resources": wanted} for one in entries if _differs(one, wanted)]
            for group, entries in found.items()
        }

    meant = Meant(words or (), selector, every, dry_run, wait, timeout)
    return meant.change(ctx, change, "resource requirements updated")


def _amounts(text: str, option: str) -> dict[str, str | None]:
    """`cpu=100m,memory=64Mi`; None for what is to be taken away."""
    amounts: dict[str, str | None] = {}
    for part in filter(None, text.split(",")):
        resource, equals, amount = part.partition("=")
        if not resource or not equals:
            raise UsageError(f"{option}: {part!r} is not of the form NAME=AMOUNT")
        try:
            amounts[resource] = amount if quantity.value(amount) else None
        except ValueError as error:
            raise UsageError(f"{option}: {resource}: {error}") from None
    return amounts


def _differs(container: Obj, wanted: dict[str, dict[str, str | None]]) -> bool:
    have: Any = get(container, "resources", default={})
    return any(
        get(have, which, resource) != amount
        for which, amounts in wanted.items()
        for resource, amount in amounts.items()
    )
