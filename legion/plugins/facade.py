"""The typed face of all plugins."""

from __future__ import annotations

import time

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from ..model import Action, Arm, Change, Notice, Record, Report, Ruling
from .answers import Answer, Observed, Timing
from .backlog import Backlog
from .packages import offered
from .readings import (
    read_changes,
    read_digest,
    read_flag,
    read_metrics,
    read_name,
    read_nothing,
    read_ruling,
)
from .roster import Roster
from .seat import Seat, Terms


if TYPE_CHECKING:
    from ..criteria import Criterion


T = TypeVar("T")


class Plugins:
    """
    Everybody who takes part, and a typed method for each hook.

    Plugins may come and go while other threads call hooks: a call sees all of a change
    or none of it. Each is called by itself; one that raises, hangs or answers nonsense
    gives an `Answer` with an error, and the others are asked all the same.

    Args:
        plugins: What is registered, in this order; the last one is asked first.
        builtins: Whether the built-in plugins, the criteria, come before them.
        timer: Machine time in seconds.
        quarantine_after: Failures in a row after which a plugin is not asked on that
            hook any more, until `release`.

    Raises:
        PluginError: One of them cannot be registered; the others are shut down again.

    .. versionadded:: 0.1
    """

    def __init__(
        self,
        *plugins: object,
        builtins: bool = True,
        timer: Callable[[], float] = time.perf_counter,
        quarantine_after: int = 5,
    ) -> None:
        if quarantine_after < 1:
            msg = f"quarantine_after: got {quarantine_after}; write 1 or more"
            raise ValueError(msg)
        self._terms = Terms(timer, quarantine_after)
        self._roster = Roster({"plugins": self}, self._terms)
        self._backlog = Backlog()
        try:
            if builtins:
                self._roster.found(_builtins())
            for plugin in plugins:
                self.register(plugin)
        except BaseException:
            self.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Plugins {', '.join(self.names()) or 'none'}>"

    # Who takes part.

    def register(self, plugin: object, *, name: str | None = None) -> str:
        """
        Let *plugin* take part, and start it.

        Args:
            plugin: A criterion, an object or a module with hooks.
            name: What it is called; by default the name of the criterion, module or
                class, numbered where that is taken.

        Returns:
            Its name.

        Raises:
            PluginError: It has a fault, or ``legion_startup`` raised. It is not
                registered then, and all else is as it was.
            CriterionError: It is half a criterion, or a criterion's name is taken.
        """
        return self._roster.add(plugin, name)

    def unregister(self, plugin_or_name: object) -> None:
        """
        Take a plugin out; it is told to shut down.

        Raises:
            PluginError: It is not registered.
        """
        self._roster.remove(plugin_or_name)
        self._backlog.forget(set(self._roster.registered()))

    def block(self, name: str) -> None:
        """
        Leave out the plugin and the criterion called *name*, whenever they come.

        A blocked plugin stays registered; it is told to shut down and not called.
        Nothing need be called so yet: `blocked` lists it, and a warning is logged where
        something nearly is.
        """
        self._roster.block(name)

    def unblock(self, name: str) -> None:
        """
        Let the plugin and the criterion called *name* in again.

        Raises:
            PluginError: The plugin cannot start; it stays blocked.
        """
        self._roster.unblock(name)

    @property
    def blocked(self) -> frozenset[str]:
        """Names that are left out, whether or not anything is called so."""
        return self._roster.blocked

    def names(self) -> tuple[str, ...]:
        """Return the plugins that take part, in the order of registration."""
        return self._roster.table.names

    def load(self) -> tuple[str, ...]:
        """
        Register what installed packages offer in the entry-point group ``legion``.

        What is blocked is not imported; what is registered already is left alone.

        Returns:
            The names of those that are new.

        Raises:
            PluginError: One cannot be imported or registered. Then none is.
        """
        found = tuple(offered(without=self.blocked))
        known = self._roster.registered()
        loaded: list[str] = []
        try:
            for name, plugin in found:
                if known.get(name) is not plugin:
                    loaded.append(self.register(plugin, name=name))
        except BaseException:
            for name in reversed(loaded):
                self.unregister(name)
            raise
        return tuple(loaded)

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """The criteria of all plugins by name, sorted, without blocked ones."""
        return self._roster.table.criteria

    # How they behave.

    def timings(self) -> Mapping[tuple[str, str], Timing]:
        """Return what calls have cost, by plugin and hook, where there were any."""
        timings = {(s.plugin, s.hook): s.timing for s in self._roster.seats()}
        return {key: timing for key, timing in timings.items() if timing.calls}

    def quarantined(self) -> Mapping[tuple[str, str], str]:
        """Return who is in quarantine and why, by plugin and hook."""
        return {
            (seat.plugin, seat.hook): barred
            for seat in self._roster.seats()
            if (barred := seat.barred) is not None
        }

    def release(self, name: str) -> None:
        """
        Lift every quarantine of the plugin called *name*.

        Raises:
            PluginError: There is no such plugin.
        """
        self._roster.release(name)

    def trace(self, write: Callable[[str], object] | None) -> Callable[[], None]:
        """
        Write a line for each call: hook, plugin, time, answer or error.

        Args:
            write: Takes the line, in the thread of the caller; None turns it off.

        Returns:
            A function that turns it off, unless another trace has begun since.
        """
        self._terms.write = write

        def off() -> None:
            if self._terms.write is write:
                self._terms.write = None

        return off

    # The hooks, in the order of a turn.

    def startup(self) -> None:
        """
        Start those that were shut down; the others started when they were registered.

        Raises:
            PluginError: One raised; it is not registered any more.
        """
        self._roster.open()

    def shutdown(self) -> None:
        """Tell everybody who is started to shut down, last in, first out."""
        self._roster.close()

    def observe(self, plan: str, arm: Arm) -> Observed:
        """Return what all sources measured of *arm* since they were last asked."""
        observed = Observed()
        sources: dict[str, list[str]] = {}
        for answer in self._ask(
            "legion_observe", {"plan": plan, "arm": arm}, read_metrics
        ):
            if answer.error is not None:
                observed.errors[answer.plugin] = answer.error
            for metric, value in (answer.value or {}).items():
                sources.setdefault(metric, []).append(answer.plugin)
                observed.metrics[metric] = value
        for metric, claimed in sources.items():
            if len(claimed) > 1:
                del observed.metrics[metric]
                said = [observed.errors.get(metric), _claimed(metric, claimed)]
                observed.errors[metric] = "; ".join(filter(None, said))
        return observed

    def choose_stage(
        self, plan: str, stage: str, report: Report
    ) -> tuple[Answer[str], ...]:
        """Return who asks for which stage; the lowest is the engine's to find."""
        return self._ask(
            "legion_choose_stage",
            {"plan": plan, "stage": stage, "report": report},
            read_name,
        )

    def propose(self, report: Report, history: Sequence[Record]) -> tuple[Change, ...]:
        """Return all proposals, sorted by risk, kind and target."""
        answers = self._ask(
            "legion_propose",
            {"report": report, "history": tuple(history)},
            read_changes,
        )
        changes = [change for answer in answers for change in answer.value or ()]
        return tuple(sorted(changes, key=lambda c: (c.risk, c.kind, c.target)))

    def review(
        self, subject: Change | Action, report: Report | None
    ) -> tuple[Answer[Ruling], ...]:
        """Return every reviewer's ruling; an answer with an error means DENY."""
        return self._ask(
            "legion_review", {"change": subject, "report": report}, read_ruling
        )

    def activate(self, target: str, digest: str) -> bool | None:
        """
        Make *digest* the live one of *target*.

        Returns:
            True once it is live, False if all is as it was, None where nobody owns it.

        Raises:
            PluginError: A plugin raised, hangs or answered nonsense: in doubt.
        """
        return self._first(
            "legion_activate", {"target": target, "digest": digest}, read_flag
        )

    def active(self, target: str) -> str | None:
        """
        Return the live digest of *target*, "" for none, None where nobody owns it.

        Raises:
            PluginError: A plugin raised, hangs or answered nonsense: in doubt.
        """
        return self._first("legion_active", {"target": target}, read_digest)

    def record(self, record: Record) -> None:
        """Show *record* to all."""
        self._ask("legion_record", {"record": record}, read_nothing)

    def notify(self, notice: Notice) -> None:
        """Tell *notice* on all channels; one that fails gets it again later."""
        for seat in self._seats("legion_notify"):
            if self._backlog.waits(seat.plugin, notice) or not _tell(seat, notice):
                self._backlog.keep(seat.plugin, notice)

    def retry_notices(self) -> int:
        """
        Offer each channel the notices it has not delivered, oldest first.

        A notice waits for an earlier one of the same id, so that no resolve overtakes
        its incident. At most 100 are kept for a channel; then the oldest is dropped.

        Returns:
            How many were delivered.
        """
        return sum(self._retry(seat) for seat in self._seats("legion_notify"))

    def admit(self, query: str, value: object) -> bool:
        """Tell whether nobody keeps this answer out of the cache; errors do."""
        answers = self._ask("legion_admit", {"query": query, "value": value}, read_flag)
        return all(answer.value is True for answer in answers)

    def _seats(self, hook: str) -> tuple[Seat, ...]:
        return self._roster.table.seats[hook]

    def _ask(
        self, hook: str, given: Mapping[str, object], read: Callable[[object], T]
    ) -> tuple[Answer[T], ...]:
        answers = []
        for seat in self._roster.table.seats[hook]:
            answer = seat.ask(given, read)
            if answer is not None:
                answers.append(answer)
        return tuple(answers)

    def _first(
        self, hook: str, given: Mapping[str, object], read: Callable[[object], T]
    ) -> T | None:
        """
        Ask one after the other until one answers.

        Nobody is quarantined here: going back is this call too, and has to be tried
        again however often it failed.
        """
        for seat in self._roster.table.seats[hook]:
            value = seat.demand(given, read)
            if value is not None:
                return value
        return None

    def _retry(self, seat: Seat) -> int:
        delivered = 0
        stuck: set[str] = set()
        kept = self._backlog.begin(seat.plugin)
        try:
            for notice in kept:
                if notice.id in stuck:
                    continue
                if _tell(seat, notice):
                    self._backlog.delivered(seat.plugin, notice)
                    delivered += 1
                else:
                    stuck.add(notice.id)
        finally:
            if kept:
                self._backlog.end(seat.plugin)
        return delivered


def _builtins() -> tuple[object, ...]:
    from ..criteria import BUILTINS

    return tuple(BUILTINS)


def _tell(seat: Seat, notice: Notice) -> bool:
    answer = seat.ask({"notice": notice}, read_nothing)
    return answer is None or answer.error is None


def _claimed(metric: str, sources: Sequence[str]) -> str:
    names = " and ".join(repr(name) for name in sorted(sources))
    return f"{names} both supply {metric!r}; unregister one of them"
