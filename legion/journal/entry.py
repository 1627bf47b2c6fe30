"""What one entry of the log is made of, and how its bytes are read back."""

from __future__ import annotations

import hashlib
import json
import re

from collections.abc import Mapping, Sequence
from reprlib import repr as brief
from typing import Any, cast

import attrs

from .. import canonical
from ..canonical import JSON
from ..exceptions import JournalError
from ..model import Noun, Record
from . import given


NOTE = "note"
"""The kind of a record that was appended without one."""

_DIGEST = re.compile("[0-9a-f]{64}")


@attrs.frozen(kw_only=True)
class Draft:
    """
    An entry before it has a place in the log.

    Attributes:
        kind: What sort of record.
        body: Canonical JSON of what is recorded.
        refs: Digests and record ids it refers to.
        subject: Digest of the noun, or "".
    """

    kind: str
    body: bytes
    refs: tuple[str, ...]
    subject: str


def draft(body: object, *, kind: str | None, refs: Sequence[str]) -> Draft:
    """
    Make a draft of a noun or a mapping.

    Raises:
        JournalError: *body*, *kind* or *refs* are of the wrong type.
        ValueError: *body* holds something that JSON cannot say exactly.
        TypeError: *body* holds something that JSON has no word for.
    """
    subject, own = "", list[str]()
    if isinstance(body, Noun):
        value: Mapping[str, JSON] = body.to_json()
        kind = kind or type(body).__name__.lower()
        subject = body.digest
        own = [*_digests_in(value), *_change_in(value)]
    elif isinstance(body, Mapping):
        value = body
    else:
        msg = f"journal: got a {type(body).__name__} to append; write a noun or a dict"
        raise JournalError(msg)
    return Draft(
        kind=given.text(kind or NOTE, "kind", write="what sort of record"),
        body=canonical.dumps(value),
        refs=tuple(dict.fromkeys([*own, *_checked(refs)])),
        subject=subject,
    )


def _checked(refs: Sequence[str]) -> Sequence[str]:
    if isinstance(refs, Sequence) and not isinstance(refs, str | bytes) and all(refs):
        return [given.text(ref, "a ref", write="a digest or record id") for ref in refs]
    msg = f"journal: got refs={brief(refs)}; write a list of digests or record ids"
    raise JournalError(msg)


def encode(draft: Draft, *, seq: int, at: float) -> bytes:
    """
    Return the entry's bytes: the canonical JSON of the record.

    They are put together from the parts, since the body is canonical already.
    """
    when = canonical.dumps(at)
    mark = hashlib.sha256(b"%d\n%s\n%s" % (seq, when, draft.body)).hexdigest()[:8]
    rest = canonical.dumps(
        {
            "id": f"{seq}-{mark}",
            "kind": draft.kind,
            "refs": draft.refs,
            "seq": seq,
            "subject": draft.subject,
        }
    )
    return b'{"at":%s,"body":%s,%s' % (when, draft.body, rest[1:])


def decode(data: bytes) -> Record:
    """
    Read an entry's bytes.

    Raises:
        JournalError: They are no entry.
    """
    try:
        raw = cast("dict[str, Any]", json.loads(data, parse_int=_integer))
        record = Record(
            id=raw["id"],
            seq=raw["seq"],
            kind=raw["kind"],
            at=float(raw["at"]),
            body=raw["body"],
            refs=tuple(raw["refs"]),
            subject=raw["subject"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{data[:40]!r}... is no entry of a journal"
        raise JournalError(msg) from error
    texts = (record.id, record.kind, record.subject, *record.refs)
    if (
        not all(isinstance(text, str) for text in texts)
        or not isinstance(record.seq, int)
        or not isinstance(record.body, dict)
    ):
        msg = f"{data[:40]!r}... is an entry with fields of the wrong type"
        raise JournalError(msg)
    return record


def names(record: Record, data: bytes) -> tuple[str, ...]:
    """
    Return the digests by which others may refer to a record.

    Its own, that of the noun in it, and that of a change which stands inside a
    decision: what comes after (ruling, intent, outcome) refers to the change.

    Args:
        record: The record.
        data: The same as bytes of the entry, which saves writing it again.
    """
    tail = canonical.dumps(
        {"refs": record.refs, "seq": record.seq, "subject": record.subject}
    )[1:]
    # Canonical keys are sorted: "noun" stands between "kind" and "refs".
    own = hashlib.sha256(data[: -len(tail)] + b'"noun":"Record",' + tail).hexdigest()
    if not record.subject:
        return (own,)
    return (own, record.subject, *_change_in(record.body))


def _change_in(body: Mapping[str, JSON]) -> tuple[str, ...]:
    change = body.get("change")
    if not isinstance(change, Mapping):
        return ()
    return (canonical.digest({"noun": "Change", **change}),)


def _digests_in(value: Mapping[str, JSON]) -> list[str]:
    """Return the digests in the fields of a noun, and in those of its change."""
    change = value.get("change")
    inner = change.values() if isinstance(change, Mapping) else ()
    return [
        item
        for item in (*value.values(), *inner)
        if isinstance(item, str) and _DIGEST.fullmatch(item)
    ]


def _integer(digits: str) -> int | float:
    """Read digits; what is too large for a JSON integer was written as a float."""
    value = int(digits)
    return value if abs(value) < 2**53 else float(digits)
