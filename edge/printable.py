"""Text of a user in lines of ours: what would move the cursor, colour the terminal or break the line is escaped."""

from __future__ import annotations


def printable(text: str, *, lines: bool = False) -> str:
    r"""``text`` with everything that is no visible character or space written as Python escapes it (``\x1b``).

    ``lines`` keeps line feeds.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or (lines and character == "\n")
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
