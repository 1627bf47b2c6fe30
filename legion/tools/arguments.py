"""The arguments of a call, by digest: what makes two calls the same."""

from __future__ import annotations

import inspect
import re

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from .. import canonical
from ..canonical import JSON


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def digest_of(
    signature: inspect.Signature | None,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    *,
    ignore: AbstractSet[str] = frozenset(),
) -> str:
    """
    Return the digest of a call's arguments, by the names of its parameters.

    It is that of their canonical JSON. What JSON has no word for stands by its ``repr``
    with the memory addresses left out: a dataclass, a date or a model by its content, an
    object without a repr of its own by its type alone. So may `self`: two objects of one
    type are then the same.

    Args:
        signature: Of the function, or None where it has none.
        args: Positional arguments.
        kwargs: Keyword arguments.
        ignore: Names of those that are left out: they make no other call.
    """
    named = _named(signature, args, kwargs)
    if ignore:
        named = _without(named, ignore, more=takes_more(signature))
    try:
        return canonical.digest(named)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return _digest_of_reprs(named)


def _digest_of_reprs(named: Mapping[str, object]) -> str:
    try:
        return canonical.digest(_said(named))
    except Exception:  # noqa: BLE001 - a stranger's repr may raise anything
        return canonical.digest([type(each).__qualname__ for each in named.values()])


def _named(
    signature: inspect.Signature | None,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
) -> dict[str, object]:
    if signature is not None:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # the function itself says so, to whoever called it
            return {"args": args, "kwargs": dict(kwargs)}
        bound.apply_defaults()
        return bound.arguments
    return {"args": args, "kwargs": dict(kwargs)}


def takes_more(signature: inspect.Signature | None) -> str | None:
    """Return the name of a parameter like ``**kwargs``, or None."""
    parameters = () if signature is None else signature.parameters.values()
    return next(
        (each.name for each in parameters if each.kind is each.VAR_KEYWORD), None
    )


def _without(
    named: Mapping[str, object], ignore: AbstractSet[str], *, more: str | None
) -> dict[str, object]:
    left = {name: value for name, value in named.items() if name not in ignore}
    extra = left.get(more or "")
    if isinstance(extra, dict):
        left[more or ""] = {n: each for n, each in extra.items() if n not in ignore}
    return left


def _said(value: object) -> JSON:
    """Return *value* as JSON, with words of our own where JSON has none."""
    if isinstance(value, Mapping):
        pairs: list[JSON] = [[_said(key), _said(item)] for key, item in value.items()]
        return sorted(pairs, key=canonical.dumps)
    if isinstance(value, AbstractSet):
        return sorted(map(_said, value), key=canonical.dumps)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_said(item) for item in value]
    try:
        canonical.dumps(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        return {kind: ascii(_ADDRESS.sub("", repr(value)))}
    return value  # type: ignore[return-value]
