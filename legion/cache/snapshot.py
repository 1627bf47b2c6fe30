"""All entries at one moment, in columns, as a cache's file has them."""

from __future__ import annotations

import json
import zlib

from collections.abc import Callable, Mapping, Sequence
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import attrs
import numpy as np

from ..canonical import JSON
from . import codec as codecs
from .groups import DIGEST
from .layout import Head, check_section
from .lifetime import Terms
from .sketch import BITS


if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from .sunken import Sunken


FOREVER_MS = 2**62
"""When an entry expires that does not."""
_SAME = 0xFFFFFFFF  # the question, as it was put, is its own key
_COLUMNS: dict[str, str] = {
    "id": "<i8",
    "stored_ms": "<i8",
    "lasts_ms": "<i8",
    "scope": "<u4",
    "terms": "<u4",
    "value": "<u4",
    "key_chars": "<u4",
    "question_chars": "<u4",
    "vectors": "<u4",
    "size": "<i8",
    "redundancy": "<f4",
    "origin": "<i8",
    "group": "<u4",
    "used_ms": "<i8",
}
_RISING = {"id", "stored_ms", "scope", "used_ms"}
_VALUES: dict[str, str] = {"size": "<u4", "packed": "<u4", "check": "<u4"}
_SINCE = {"origin": 2, "group": 2, "used_ms": 3, "check": 3}
"""The version from which on there is a column."""


class Place(NamedTuple):
    """
    Where in the file an answer lies: packed, or as it is if both sizes are equal.

    What lies there has the CRC-32 *check*, which no file before version 3 says.
    """

    offset: int
    packed: int
    size: int
    check: int | None

    @classmethod
    def of(cls, raw: Buffer, offset: int) -> Place:
        """Say that *raw* lies at *offset* as it is."""
        size = memoryview(raw).nbytes
        return cls(offset, size, size, zlib.crc32(raw))


class Row(NamedTuple):
    """
    What is kept of an entry beside its vectors; times are dates, in milliseconds.

    An alias says whose it is, and an entry whose value is compared, its `Group.digest`.
    """

    id: int
    scope: str
    key: str
    question: str
    value: bytes
    stored_ms: int
    expires_ms: int
    terms: Terms
    size: int
    redundancy: float
    vectors: int
    origin: int = 0
    group: bytes = b""
    used_ms: int = 0


@attrs.frozen(kw_only=True)
class Loaded:
    """
    What was read of a snapshot, of which each column has one item for each entry.

    Attributes:
        columns: Ids, dates, sizes, redundancies, numbers of vectors, origins.
        scopes: Names of scopes; entries of one follow each other.
        keys: Normalised questions.
        questions: Questions as they were put.
        terms: What was said of the answers.
        places: Where the answers lie.
        groups: What tells equal answers, or nothing.
        vectors: Of all entries, one after the other, shape (m, dim).
        sketches: Of the same, shape (m, BITS / 8).
        learned: What else was kept.
        last_id: The highest id that was ever given.
        sunken: What is said of entries that are on disk alone, or None without any.
    """

    columns: dict[str, NDArray[Any]]
    scopes: list[str]
    keys: list[str]
    questions: list[str]
    terms: list[Terms]
    places: list[Place]
    groups: list[bytes]
    vectors: NDArray[np.float32]
    sketches: NDArray[np.uint8]
    learned: JSON
    last_id: int
    sunken: Sunken | None

    def only(self, kept: NDArray[np.bool_]) -> Loaded:
        """Return the same of those entries only that are *kept*, but for vectors."""
        return attrs.evolve(
            self,
            scopes=list(compress(self.scopes, kept)),
            keys=list(compress(self.keys, kept)),
            questions=list(compress(self.questions, kept)),
            terms=list(compress(self.terms, kept)),
            places=list(compress(self.places, kept)),
            groups=list(compress(self.groups, kept)),
            columns={name: column[kept] for name, column in self.columns.items()},
        )


def sections(
    rows: Sequence[Row],
    vectors: NDArray[np.float32],
    sketches: NDArray[np.uint8],
    *,
    last_id: int,
    learned: JSON,
    sunken: Sunken | None = None,
) -> tuple[dict[str, JSON], dict[str, Buffer], list[Place]]:
    """
    Return the facts and sections of a snapshot.

    Args:
        rows: The entries, those of a scope one after the other, by rising id.
        vectors: Their vectors in that order, shape (m, dim).
        sketches: Of the same.
        last_id: The highest id that was ever given.
        learned: What else is to be kept.
        sunken: Entries that are to be on disk alone, or None without any.

    Returns:
        Facts; sections by name; for each row, those that are sunken last, where its
        answer lies within the section ``values``.
    """
    below = [] if sunken is None else sunken.entries
    heads = [] if sunken is None else sunken.heads()
    distinct: dict[bytes, int] = {}
    value_of = [
        distinct.setdefault(row.value, len(distinct)) for row in (*rows, *below)
    ]
    kind = codecs.best()
    # Of zlib's dictionary the end counts, and answers are longer than what is beside.
    samples = [*codecs.spread(heads), *codecs.spread(list(distinct))]
    dictionary = kind.trained(samples)
    small = kind(dictionary)
    packed = [_packed(small, value) for value in distinct]
    values = {
        "size": list(map(len, distinct)),
        "packed": list(map(len, packed)),
        "check": list(map(zlib.crc32, packed)),
    }
    plain = {
        **_listed(rows, value_of),
        "sizes": _columns(values, _VALUES),
        "learned": json.dumps(learned).encode(),
    }
    ends = np.cumsum([0, *values["packed"]]).tolist()
    each = [*map(Place, ends, values["packed"], values["size"], values["check"])]
    places = [each[i] for i in value_of]
    dim = vectors.shape[1] if len(vectors) else None
    alone: dict[str, Buffer] = {}
    if sunken is not None:
        alone["sunken"] = sunken.pack(heads, places[len(rows) :], small)
        plain["sunken_rows"] = sunken.listed()
        dim = dim or len(sunken.vectors[0])
    large = kind()
    facts: dict[str, JSON] = {
        "codec": large.name,
        "entries": len(rows),
        "values": len(distinct),
        "dim": dim,
        "last_id": last_id,
        "plain": {name: len(data) for name, data in plain.items()},
    }
    parts: dict[str, Buffer] = {
        "dictionary": dictionary,
        **{name: large.pack(data) for name, data in plain.items()},
        "values": b"".join(packed),
        "sketches": np.ascontiguousarray(sketches).data,
        "vectors": np.ascontiguousarray(vectors, "<f4").data,
        **alone,
    }
    return facts, parts, places


def _listed(rows: Sequence[Row], value_of: Sequence[int]) -> dict[str, bytes]:
    """Return the sections of what is kept of each row but for its answer."""
    terms: dict[Terms, int] = {}
    scopes: dict[str, int] = {}
    groups: dict[bytes, int] = {b"": 0}
    columns: dict[str, Sequence[float]] = {
        "id": [row.id for row in rows],
        "stored_ms": [row.stored_ms for row in rows],
        "lasts_ms": [row.expires_ms - row.stored_ms for row in rows],
        "scope": [scopes.setdefault(row.scope, len(scopes)) for row in rows],
        "terms": [terms.setdefault(row.terms, len(terms)) for row in rows],
        "value": value_of[: len(rows)],
        "key_chars": [len(row.key) for row in rows],
        "question_chars": [
            _SAME if row.question == row.key else len(row.question) for row in rows
        ],
        "vectors": [row.vectors for row in rows],
        "size": [row.size for row in rows],
        "redundancy": [row.redundancy for row in rows],
        "origin": [row.origin for row in rows],
        "group": [groups.setdefault(row.group, len(groups)) for row in rows],
        "used_ms": [row.used_ms for row in rows],
    }
    names = {
        "scopes": list(scopes),
        "terms": [[t.ttl_s, t.sliding, sorted(t.tags), t.cost] for t in terms],
    }
    texts = "".join(
        row.key if row.question == row.key else row.key + row.question for row in rows
    )
    return {
        "columns": _columns(columns, _COLUMNS),
        "names": json.dumps(names).encode(),
        "texts": texts.encode("utf-8", "surrogatepass"),
        "groups": b"".join(groups),
    }


def _packed(codec: codecs.Codec, value: bytes) -> bytes:
    packed = codec.pack(value)
    return packed if len(packed) < len(value) else value


def _columns(columns: Mapping[str, Sequence[float]], kinds: Mapping[str, str]) -> bytes:
    """Lay columns one after the other, the first bytes of all numbers first."""
    parts = []
    for name, kind in kinds.items():
        column = np.array(columns[name], kind)
        if name in _RISING:
            column = np.diff(column, prepend=column.dtype.type(0))
        parts.append(
            column.view(np.uint8).reshape(-1, column.itemsize).T.tobytes()
            if len(column)
            else b""
        )
    return b"".join(parts)


def _of(version: int, kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that there are in a file of that *version*."""
    return {k: v for k, v in kinds.items() if version >= _SINCE.get(k, 1)}


def _read_columns(
    data: bytes, n: int, kinds: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    at = 0
    for name, kind in kinds.items():
        width = np.dtype(kind).itemsize
        turned = np.frombuffer(data, np.uint8, n * width, at).reshape(width, n)
        column = np.ascontiguousarray(turned.T).view(kind).ravel()
        if name in _RISING:
            column = np.cumsum(column, dtype=column.dtype)
        found[name], at = column, at + n * width
    return found


def small_codec(head: Head, read: Callable[[str], memoryview]) -> codecs.Codec:
    """Return the codec of single answers."""
    return codecs.named(str(head.facts["codec"]), bytes(read("dictionary")))


def load(head: Head, read: Callable[[str], memoryview]) -> Loaded:
    """
    Return what a snapshot says.

    Args:
        head: Its head.
        read: From the name of a section to its bytes.

    Raises:
        DamageError: A section is damaged.
        MissingExtraError: What it was packed with is not installed.
    """
    facts = head.facts
    n, distinct = cast("int", facts["entries"]), cast("int", facts["values"])
    dim = cast("int | None", facts["dim"]) or 0
    sizes = cast("Mapping[str, int]", facts["plain"])
    codec = codecs.named(str(facts["codec"]), b"")

    def checked(name: str) -> memoryview:
        data = read(name)
        check_section(name, head.sections[name], data)
        return data

    def plain(name: str) -> bytes:
        return codec.unpack(bytes(checked(name)), sizes[name])

    for name in ("dictionary", "values"):
        checked(name)
    names = json.loads(plain("names"))
    old = head.version == 1
    columns = _read_columns(plain("columns"), n, _of(head.version, _COLUMNS))
    for name in _COLUMNS.keys() - columns.keys():
        columns[name] = np.zeros(n, _COLUMNS[name])
    digests = b"" if old else plain("groups")
    groups = [b"", *(digests[i : i + DIGEST] for i in range(0, len(digests), DIGEST))]
    values = _read_columns(plain("sizes"), distinct, _of(head.version, _VALUES))
    texts = plain("texts").decode("utf-8", "surrogatepass")
    terms = [
        Terms(ttl_s=ttl_s, sliding=sliding, tags=frozenset(tags), cost=cost)
        for ttl_s, sliding, tags, cost in names["terms"]
    ]
    columns["expires_ms"] = columns["stored_ms"] + columns.pop("lasts_ms")
    keys, questions = _texts(texts, columns["key_chars"], columns["question_chars"])
    sunken = None
    if "sunken" in head.sections:
        from .sunken import read_list

        checked("sunken")
        sunken = read_list(plain("sunken_rows"), head.sections["sunken"].offset)
    packed = values["packed"].astype(np.int64)
    starts = np.cumsum(packed) - packed + head.sections["values"].offset
    each = columns["value"]
    checks = values.get("check")
    places = map(
        Place,
        starts[each].tolist(),
        packed[each].tolist(),
        values["size"][each].tolist(),
        repeat(None) if checks is None else checks[each].tolist(),
    )
    return Loaded(
        columns=columns,
        scopes=[names["scopes"][i] for i in columns["scope"].tolist()],
        keys=keys,
        questions=questions,
        terms=[terms[i] for i in columns["terms"].tolist()],
        places=list(places),
        groups=[groups[i] for i in columns["group"].tolist()],
        vectors=np.frombuffer(checked("vectors"), "<f4").reshape(-1, max(dim, 1)),
        sketches=np.frombuffer(checked("sketches"), np.uint8).reshape(-1, BITS // 8),
        learned=None if old else json.loads(plain("learned")),
        last_id=cast("int", facts["last_id"]),
        sunken=sunken,
    )


def _texts(
    texts: str, key_chars: NDArray[Any], question_chars: NDArray[Any]
) -> tuple[list[str], list[str]]:
    own = (question_chars != _SAME).nonzero()[0]
    sizes = key_chars.astype(np.int64)
    middles = sizes.copy()
    sizes[own] += question_chars[own]
    ends = np.cumsum(sizes)
    middles += ends - sizes
    keys = [
        texts[begin:end]
        for begin, end in zip((ends - sizes).tolist(), middles.tolist(), strict=True)
    ]
    questions = keys.copy()
    for i in own.tolist():
        questions[i] = texts[middles[i] : ends[i]]
    return keys, questions
