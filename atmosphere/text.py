# -*- test-case-name: tests.test_text -*-
"""
Names, and words that strangers chose: what a name may be, and how to show any text safely.
"""

from __future__ import annotations

import re
from collections.abc import Container

__all__ = ["escape_peer_text", "is_valid_name", "tidy_name", "unused_name"]

MAXIMUM_NAME = 63

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def escape_peer_text(text: str, limit: int = 64) -> str:
    """
    Make a text that a peer chose safe for a terminal, a log or a table.

    What is not printable (control characters and thereby ANSI sequences,
    line ends, bidirectional and zero-width marks, lone surrogates) becomes a
    backslash and its number; a backslash becomes two.

    @param limit: the most characters of the result; what is cut off leaves an ellipsis.
    """
    shown: list[str] = []
    length = 0
    for character in text[: limit + 1]:
        if character == "\\":
            piece = "\\\\"
        elif character.isprintable():
            piece = character
        else:
            number = ord(character)
            width = "x%02x" if number < 0x100 else "u%04x" if number < 0x10000 else "U%08x"
            piece = "\\" + width % number
        shown.append(piece)
        length += len(piece)
    if length <= limit:
        return "".join(shown)
    while shown and length > limit - 1:
        length -= len(shown.pop())
    return "".join(shown) + "…"


def is_valid_name(text: str) -> bool:
    """
    Say whether a certificate may give a node that name.

    1 to 63 small letters, digits, hyphens, underscores and dots, of ASCII;
    the first is a letter or digit.
    """
    return _NAME.fullmatch(text) is not None


def tidy_name(text: str) -> str:
    """
    Make a valid name of any text, such as the name of a host.

    @return: a valid name; C{"node"} when nothing of the text is left.
    """
    tidied = re.sub(r"[^a-z0-9._-]+", "-", text[:256].lower())
    return tidied.strip("-_.")[:MAXIMUM_NAME].rstrip("-_.") or "node"


def unused_name(wanted: str, taken: Container[str]) -> str:
    """
    Find a name that is still free: the wanted one, else with C{-2}, C{-3} and so on.

    @param wanted: any text; it is made valid first.
    @param taken: the names that others have.
    """
    name = tidy_name(wanted)
    number = 1
    free = name
    while free in taken:
        number += 1
        suffix = f"-{number}"
        free = name[: MAXIMUM_NAME - len(suffix)] + suffix
    return free
