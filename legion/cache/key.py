"""What makes two look-ups the same: their scope and their question."""

from __future__ import annotations

import re
import unicodedata

from collections.abc import Mapping
from reprlib import repr as brief

from .. import canonical
from ..canonical import JSON


DEFAULT_SCOPE = ""
_LINE_END = re.compile(r"\r\n|\r|\n")


def scope_key(tenant: object, settings: Mapping[str, JSON]) -> str:
    """
    Name a scope so that no two different ones share a name.

    Canonical JSON tells the text "1" from the number 1, and a tenant whose name looks
    like settings from a tenant that has them.

    Raises:
        ValueError: *tenant* is empty, or something is no JSON value: half a character,
            or nested too deep.
        TypeError: *tenant* is not a string, or a setting is not a JSON value.
    """
    if not isinstance(tenant, str):
        msg = f"scope: got the tenant {tenant!r}; write a string"
        raise TypeError(msg)
    if not tenant:
        msg = (
            "scope: got an empty tenant; write its name, or use the cache itself, "
            "which is the default scope"
        )
        raise ValueError(msg)
    try:
        return canonical.dumps([tenant, dict(settings)]).decode()
    except (UnicodeEncodeError, RecursionError) as error:
        what = "nested too deep" if isinstance(error, RecursionError) else str(error)
        msg = (
            f"scope: got the tenant {brief(tenant)} and the settings {brief(settings)}, "
            f"of which JSON cannot be made ({what}); write texts, numbers and short "
            f"lists of such"
        )
        raise ValueError(msg) from error


def normalised(question: object) -> str:
    """
    Return what two questions must share to be the same one.

    Only what cannot change the meaning is taken out: Unicode is composed (NFC), and a
    question of one line has its white space folded. Of several lines, each keeps its
    indentation, since in code that is meaning. Case is kept: "us" is not "US", and
    an embedder that ignores case finds such neighbours anyway.

    Raises:
        TypeError: *question* is not a string.
    """
    if not isinstance(question, str):
        msg = f"cache: got the question {question!r}; write a string"
        raise TypeError(msg)
    text = question if question.isascii() else unicodedata.normalize("NFC", question)
    if "\n" not in text and "\r" not in text:
        return " ".join(text.split())
    lines = [line.rstrip() for line in _LINE_END.split(text)]
    kept = [i for i, line in enumerate(lines) if line]
    if len(kept) <= 1:
        return " ".join(text.split())
    return "\n".join(lines[kept[0] : kept[-1] + 1])
