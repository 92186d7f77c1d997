"""`explain`: the documentation of fields, out of the schema."""

from __future__ import annotations

import pytest

from ktool.api.errors import UserError
from ktool.api.ref import CONFIG_MAP, POD
from ktool.logic.workload.workloadkinds import DEPLOYMENT
from ktool.present.explain import explain
from tests.everykind import KINDS

PORTS = ["spec", "template", "spec", "containers", "ports"]


def test_a_field_and_its_members() -> None:
    text = explain(KINDS[DEPLOYMENT], PORTS)
    assert text.startswith("GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nFIELD: ports <[]Object>\n")
    assert "  containerPort\t<integer> -required-\n" in text
    assert "    One of: TCP, UDP, SCTP.\n    Default: TCP.\n" in explain(KINDS[DEPLOYMENT], [*PORTS, "protocol"])


def test_what_is_not_acted_on() -> None:
    assert "does not act on it" in explain(KINDS[POD], ["spec", "setHostnameAsFQDN"])
    assert "does not act on it" not in explain(KINDS[POD], ["spec", "nodeSelector"])


def test_the_tree_names_every_field() -> None:
    text = explain(KINDS[CONFIG_MAP], [], recursive=True)
    assert "  data\t<map[string]string>\n" in text
    assert "    ownerReferences\t<[]Object>\n      apiVersion\t<string> -required-\n" in text


def test_of_no_field_it_says_what_was_meant() -> None:
    with pytest.raises(UserError, match=r'field "containrs" does not exist in Pod\.spec; did you mean "containers"\?'):
        explain(KINDS[POD], ["spec", "containrs"])
