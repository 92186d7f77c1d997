"""`ktool secret seal` and `unseal`: Secrets as files that can live in git."""

from __future__ import annotations

import sys
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated

import typer

from ktool.api.errors import DONE, UsageError, UserError, is_already_exists, is_not_found
from ktool.api.marks import SEALING_KEY_TYPE
from ktool.api.masked import Masked, encoded, values
from ktool.api.obj import Obj, get, name, namespace
from ktool.cli.plumbing import resourceargs, sources
from ktool.cli.plumbing.command import Verb, examples, session, settings
from ktool.cli.secret.audit import person, record
from ktool.logic.secrets import sealing, secretdata
from ktool.manifests import dump
from ktool.manifests.load import Manifest, load

if TYPE_CHECKING:
    from ktool.registry.client import Client

SEAL = """
ktool create secret generic db --from-literal password --dry-run=client -o yaml | ktool secret seal > db.yaml
ktool secret seal -f secret.yaml > sealed.yaml
ktool secret seal --fetch-key > sealing.pub                 # for machines that do not reach the cluster
ktool secret seal -f secret.yaml --key sealing.pub > sealed.yaml
"""
UNSEAL = """
ktool secret unseal -f sealed.yaml
"""

File = Annotated[str, typer.Option("-f", "--filename", metavar="FILE|-", help="Manifest; stdin where none is given.")]


def register(app: typer.Typer) -> None:
    app.command("seal", cls=Verb, epilog=examples(SEAL))(seal)
    app.command("unseal", cls=Verb, epilog=examples(UNSEAL))(unseal)


def seal(
    ctx: typer.Context,
    file: File = "-",
    key: Annotated[
        str, typer.Option("--key", metavar="FILE", help="The cluster's public key, instead of asking for it.")
    ] = "",
    fetch_key: Annotated[bool, typer.Option("--fetch-key", help="Print the cluster's public key.")] = False,
) -> int:
    """Encrypt Secrets to the cluster's public key.

    What comes out can be applied, kept in git and shown to anybody: only the cluster opens it, and only under the same
    namespace and name.
    """
    if key and fetch_key:
        raise UsageError("--fetch-key asks the cluster; it goes with no --key")
    if fetch_key:
        print(sealing.public_text(_public(ctx, "")))
        return DONE
    manifests = _manifests(ctx, file, "Secret", "sealed")
    public = _public(ctx, key)
    made = [_sealed(manifest.obj, public) for manifest in manifests]
    sys.stdout.write("---\n".join(dump.to_yaml(obj) for obj in made))
    return DONE


def _sealed(secret: Obj, public: bytes) -> Obj:
    secret = secretdata.without_copies(secretdata.absorbed(secret))
    held = values({**secret, "data": secretdata.canonical(secret.get("data") or {})})
    return sealing.sealed_secret(secret, held, public, {key: Masked(token_bytes(sealing.SIZE)) for key in held})


def _manifests(ctx: typer.Context, file: str, kind: str, done: str) -> list[Manifest]:
    chosen = settings(ctx)
    found = load(
        [file],
        resourceargs.kinds(),
        namespace=chosen.namespace,
        namespace_chosen=bool(chosen.chosen_namespace),
        consequence=f"nothing was {done}",
    )
    others = [one for one in found if one.obj["kind"] != kind]
    if others:
        raise UserError(others[0].error(f"only a {kind} can be {done}", "kind"))
    for one in found:
        if not name(one.obj):
            raise UserError(one.error("the name is sealed with the values: generateName does not go", "metadata"))
    return found


def unseal(ctx: typer.Context, file: File = "-") -> int:
    """Print what is sealed as plain Secrets. Whoever can do that can read the cluster's Secrets anyway."""
    manifests = _manifests(ctx, file, "SealedSecret", "unsealed")
    with session(ctx, act=False) as opened:
        holder = opened.client.get(sealing.KEY_REF)
        texts = []
        for manifest in manifests:
            try:
                held = sealing.unsealed(manifest.obj, values(holder)[sealing.PRIVATE])
            except sealing.SealError as error:
                raise UserError(manifest.error(str(error), "spec")) from None
            about = f"{namespace(manifest.obj)}/{name(manifest.obj)}"
            record(opened.client, holder, "Unsealed", f"SealedSecret {about} was unsealed for {person()}")
            texts.append(dump.to_yaml(_plain(manifest.obj, held)))
    sys.stdout.write("---\n".join(texts))
    return DONE


def _plain(sealed: Obj, held: dict[str, Masked]) -> Obj:
    template = get(sealed, "spec", "template", default={})
    metadata = {**(template.get("metadata") or {}), "name": name(sealed), "namespace": namespace(sealed)}
    whole = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": template.get("type") or secretdata.OPAQUE,
    }
    data = {key: encoded(value) for key, value in held.items()}
    return {**whole, "data": data, **({"immutable": True} if template.get("immutable") else {})}


# --- the key -----------------------------------------------------------------------------------------------------


def _public(ctx: typer.Context, file: str) -> bytes:
    """The cluster's public key, from a file or from the cluster itself, which gets one where it has none."""
    if file:
        try:
            return sealing.public_of(sources.read(file).decode("utf-8", "replace"))
        except sealing.SealError as error:
            raise UserError(f"{file}: {error}") from None
    with session(ctx, act=False) as opened:
        found = _holder(opened.client)
    private = values(found).get(sealing.PRIVATE)
    if private is None or len(private) != sealing.SIZE:
        raise UserError(f"{sealing.KEY_REF} holds no sealing key")
    return sealing.public_from(private)


def _holder(client: Client) -> Obj:
    """The Secret with the sealing key, which is encrypted at rest like every other one."""
    try:
        return client.get(sealing.KEY_REF)
    except Exception as error:
        if not is_not_found(error):
            raise
    private = Masked(token_bytes(sealing.SIZE))
    try:
        return client.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": sealing.KEY_NAME, "namespace": sealing.KEY_NAMESPACE},
                "type": SEALING_KEY_TYPE,
                "immutable": True,
                "data": {sealing.PRIVATE: encoded(private)},
            }
        )
    except Exception as error:
        if not is_already_exists(error):  # somebody else was quicker
            raise
    return client.get(sealing.KEY_REF)
