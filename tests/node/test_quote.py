"""A list of words reaches a program unchanged through a login shell, whatever is in them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktool.node.reach.quote import command_line

SHOW = (
    sys.executable,
    "-c",
    "import sys; sys.stdout.buffer.write(b'\\0'.join(map(__import__('os').fsencode, sys.argv[1:])))",
)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_shell_hands_over_exactly_the_words(words: list[str]) -> None:
    done = subprocess.run(["/bin/sh", "-c", command_line([*SHOW, *words])], capture_output=True, check=True)
    assert done.stdout.split(b"\0") == [word.encode() for word in words]


@pytest.mark.parametrize(
    "word",
    [
        "$(touch /tmp/x)",
        "`id`",
        "a;b",
        "a && b",
        "'",
        '"',
        "'\\''",
        "\n",
        "-n",
        "",
        "*",
        "~",
        "a\tb",
        "ü",
        "!!",
        "${HOME}",
    ],
)
def test_metacharacters_are_data(word: str) -> None:
    done = subprocess.run(["/bin/sh", "-c", command_line(["printf", "%s", word])], capture_output=True, check=True)
    assert done.stdout == word.encode()


@pytest.mark.parametrize(
    "argv", [[], [""], ["a\0b"], ["a", "b\0"]], ids=["empty", "no-program", "nul", "nul-in-argument"]
)
def test_what_no_exec_can_carry_is_refused(argv: list[str]) -> None:
    with pytest.raises(ValueError):
        command_line(argv)
