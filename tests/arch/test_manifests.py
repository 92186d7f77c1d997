"""Every folder of examples loads, and asks for nothing that ktool does not act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ktool import app
from ktool.api.ref import GroupKind
from ktool.api.schema import not_acted_on
from ktool.manifests.load import load
from tests.everykind import KINDS

FOLDERS = sorted(path for path in (Path(__file__).parents[2] / "manifests").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_is_valid_and_without_warnings(folder: Path) -> None:
    app.kinds()
    manifests = load([str(folder)], KINDS, namespace="default")
    warnings = []
    for manifest in manifests:
        kind = KINDS[GroupKind.of(manifest.obj)]
        warnings += [manifest.error("not acted on", path) for path in not_acted_on(kind.schema, manifest.obj)]
        warnings += kind.rules.warn(manifest.obj) if kind.rules.warn else []
    assert warnings == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_brings_its_own_namespace(folder: Path) -> None:
    """So that deleting the folder leaves nothing behind, and two folders never meet."""
    app.kinds()
    objects = [manifest.obj for manifest in load([str(folder)], KINDS, namespace="default")]
    mine = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
    used = {obj["metadata"]["namespace"] for obj in objects if KINDS[GroupKind.of(obj)].namespaced}
    assert used == mine
