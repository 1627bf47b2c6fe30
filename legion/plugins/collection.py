"""A registered plugin, and the criteria that all of them supply."""

from __future__ import annotations

import logging

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from ..exceptions import CriterionError, PluginError
from .admission import refuse_wrong_shape
from .readings import read_criteria, read_nothing
from .seat import Seat
from .wording import WrongAnswerError


if TYPE_CHECKING:
    from ..criteria import Criterion


_log = logging.getLogger("legion")


@attrs.define(eq=False)
class Entry:
    """
    A registered plugin.

    Attributes:
        name: Its name.
        plugin: The object itself.
        seats: Its implementations by hook.
        criteria: What it supplied when it was last asked.
        ready: Whether calls may see it.
        started: Whether it was told to start, and not to shut down since.
    """

    name: str
    plugin: object
    seats: Mapping[str, Seat]
    criteria: tuple[Criterion, ...] = ()
    ready: bool = False
    started: bool = False

    def start(self, given: Mapping[str, object]) -> None:
        """
        Tell it that it belongs to somebody now.

        Raises:
            PluginError: It raised.
        """
        if (seat := self.seats.get("legion_startup")) is not None:
            seat.demand(given, read_nothing)
        self.started = True

    def stop(self) -> tuple[Seat, ...]:
        """Mark it as stopped, and return whom that is to be told."""
        told = self.seats.get("legion_shutdown") if self.started else None
        self.started = False
        return () if told is None else (told,)


def shut_down(seats: Iterable[Seat]) -> None:
    """Tell them, one by one; what they raise is logged."""
    for seat in seats:
        seat.ask({}, read_nothing)


def collect(entries: Iterable[Entry], newcomer: Entry | None) -> dict[str, Criterion]:
    """
    Ask all for their criteria and return these by name.

    An old plugin that fails must not stop others from coming and going, nor take away
    what it supplied: its last answer stays, and that is logged.

    Args:
        entries: Who is asked, in the order of registration.
        newcomer: Who is to be refused if something is wrong with what it supplies.

    Raises:
        PluginError: The newcomer raised.
        CriterionError: The newcomer supplies what is no criterion, or one twice.
    """
    fresh: dict[Entry, tuple[Criterion, ...]] = {}
    for entry in entries:
        try:
            fresh[entry] = _supplied(entry)
        except PluginError as error:
            if entry is newcomer:
                raise
            fresh[entry] = entry.criteria
            _log.warning("%s; its last criteria stay", error, exc_info=error)
    owners = _owners(fresh, newcomer)
    for entry, criteria in fresh.items():
        entry.criteria = criteria
    return {
        criterion.name: criterion
        for entry, criteria in fresh.items()
        for criterion in criteria
        if owners[criterion.name] is entry
    }


def taken_twice(criterion: str, *, by: str, first: str) -> CriterionError:
    """Return the error for a criterion whose name is taken."""
    msg = (
        f"criterion {criterion!r} is supplied by plugin {first!r} already; write "
        f"another name, or unregister({first!r}) before"
    )
    return CriterionError(by, msg, hook="legion_register_criteria")


def warn_of_a_near_miss(name: str, known: Iterable[str]) -> None:
    """Log a warning where nothing is called *name* and something nearly is."""
    import difflib

    known = sorted(known)
    near = (
        [] if name in known else difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    )
    if near:
        _log.warning(
            "nothing is called %r yet, so nothing is blocked until it comes;"
            " if %r was meant, write that",
            name,
            near[0],
        )


def _supplied(entry: Entry) -> tuple[Criterion, ...]:
    seat = entry.seats.get("legion_register_criteria")
    if seat is None:
        return ()
    try:
        criteria = seat.demand({}, read_criteria) or ()
    except PluginError as error:
        if isinstance(error.__cause__, WrongAnswerError):
            said = str(error.__cause__)
            raise CriterionError(entry.name, said, hook=seat.hook) from error
        raise
    known = {id(criterion) for criterion in entry.criteria}
    for criterion in criteria:
        if id(criterion) not in known:  # It is immutable, and everybody is asked often.
            refuse_wrong_shape(criterion, by=entry.name)
    names = [criterion.name for criterion in criteria]
    for name in names:
        if names.count(name) > 1:
            raise taken_twice(name, by=entry.name, first=entry.name)
    return criteria


def _owners(
    fresh: Mapping[Entry, tuple[Criterion, ...]], newcomer: Entry | None
) -> dict[str, Entry]:
    owners: dict[str, Entry] = {}
    for entry, criteria in fresh.items():
        for criterion in criteria:
            first = owners.setdefault(criterion.name, entry)
            if first is entry:
                continue
            error = taken_twice(criterion.name, by=entry.name, first=first.name)
            if newcomer is entry:
                raise error
            if newcomer is first:
                raise taken_twice(criterion.name, by=first.name, first=entry.name)
            _log.warning("%s; the first one stays", error)
    return owners
