"""What nft is given to bring a table from what it is to what it shall be."""

from __future__ import annotations

from typing import Any

import pytest

from ktool.logic.node.nodeaction import SetRules
from ktool.node.network.nftables import RULES, set_table, transaction

TEXT = """table ip ktool-svc {
    chain format-1 {
    }
    set aff-kept {
        type ipv4_addr; flags dynamic,timeout; timeout 600s;
    }
    map svc {
        typeof ip daddr . meta l4proto . th dport : verdict;
    }
}
"""
NEIGHBOUR = "table ip nat {\n\tchain PREROUTING {\n\t}\n\tset svc {\n\t}\n}\n"


def test_a_table_that_is_not_there_or_of_another_making_is_made_anew() -> None:
    for looked in ("", NEIGHBOUR, "table ip ktool-svc {\n\tchain format-0 {\n\t}\n}\n"):
        assert transaction(RULES, looked, TEXT) == f"add table ip ktool-svc\ndelete table ip ktool-svc\n{TEXT}"


def test_clients_are_kept_and_what_is_not_wanted_goes() -> None:
    looked = f"""{NEIGHBOUR}table ip ktool-svc {{
\tchain format-1 {{
\t}}
\tchain svc-old {{
\t\ttype nat hook prerouting priority -110; policy accept;
\t}}
}}
{NEIGHBOUR}table ip ktool-svc {{
\tset aff-kept {{
\t\ttype ipv4_addr
\t}}
\tset aff-old {{
\t}}
\tmap svc {{
\t}}
}}
ours
"""
    lines = [
        "flush table ip ktool-svc",
        "flush map ip ktool-svc svc",
        "delete chain ip ktool-svc svc-old",
        "delete set ip ktool-svc aff-old",
    ]
    assert transaction(RULES, looked, TEXT) == "\n".join([*lines, TEXT])


@pytest.mark.parametrize("bad", ["", "x; flush ruleset", "AB", '"'])
def test_a_hash_that_is_none_never_reaches_a_node(bad: str) -> None:
    transport: Any = None
    with pytest.raises(ValueError, match="is not a hash"):
        set_table(transport, RULES, SetRules(TEXT, bad))
