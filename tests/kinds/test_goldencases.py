"""How golden cases share objects."""

from __future__ import annotations

from pathlib import Path

from tests.goldencases import load


def test_a_case_shows_what_differs(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "pod.yaml").write_text(
        "kind: Pod\nmetadata: {name: a, labels: {x: '1', y: '2'}}\nspec: {n: 1}\n"
    )
    case = tmp_path / "case.yaml"
    case.write_text("given:\n- base: pod\n  metadata: {labels: {x: null, z: '3'}}\n  spec: null\n- {base: pod}\n")
    first, second = load(case)["given"]
    assert first == {"kind": "Pod", "metadata": {"name": "a", "labels": {"y": "2", "z": "3"}}}
    assert second == {"kind": "Pod", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"n": 1}}
