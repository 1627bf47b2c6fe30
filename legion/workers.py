"""One host among those on a state file: all of them observe, one of them leads."""

from __future__ import annotations

import logging

from collections.abc import Iterable

import attrs

from .exceptions import StateError
from .metrics import METRICS
from .model import Clock, Observation, Window
from .plugins import Plugins
from .stages import Plan
from .stages.plan import Unit
from .store import Database
from .store.lease import Lease, process_of
from .store.owner import this_process
from .store.workers import Published, WorkerFile
from .telemetry import Telemetry


logger = logging.getLogger("legion")

LEASE_S = 30.0
"""How long a leader that is not heard of keeps the lease, in seconds by the date."""

_GENERATION = 32
"""Above so many bits of a stream's number stands the generation of its units."""


@attrs.define(eq=False)
class Workers:
    """
    What one host has to do with the others on its state file.

    Whoever does not lead publishes what it saw. Whoever leads learns that together with
    what it saw itself, and deletes it in the transaction that writes what was learned,
    so that a kill neither loses nor doubles it.

    Args:
        plan: The plan.
        plugins: Whose criteria say which way a gauge is worse.
        telemetry: Of this host.
        database: The open state file.
        clock: For the date.

    Attributes:
        token: Of the lease when this host led last; 0 if it never has.
    """

    plan: Plan
    plugins: Plugins
    telemetry: Telemetry
    _database: Database = attrs.field(alias="database")
    _clock: Clock = attrs.field(alias="clock")
    _lease: Lease = attrs.field(init=False)
    _file: WorkerFile = attrs.field(init=False)
    _process: str = attrs.field(init=False, default="")
    _id: int = attrs.field(init=False, default=0)
    _leading: bool = attrs.field(init=False, default=False)
    _unsent: list[Observation] = attrs.field(init=False, factory=list)
    _learned: list[Observation] = attrs.field(init=False, factory=list)
    _taken: set[int] = attrs.field(init=False, factory=set)
    _inherited: set[int] = attrs.field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        name = self.plan.name
        self._lease = Lease(self._database, name, self._clock)
        self._file = WorkerFile(self._database, name, self._clock)

    @property
    def token(self) -> int:
        return self._lease.token

    @property
    def leader(self) -> str:
        """Who leads, in words."""
        held = self._lease.held()
        if held is None or not held.owner:
            return "nobody"
        host, pid, _ = process_of(held.owner).rsplit(":", 2)
        return f"process {pid} on {host}"

    def leads(self, every_s: float = 0.0) -> bool:
        """
        Tell whether this host turns the wheel, and take or renew the lease for it.

        Where the file cannot be used each host turns for itself: nothing can go forward
        then, and going back must not wait.

        Args:
            every_s: How often that is asked, where nothing renews it in between.
        """
        try:
            self._leading = self._lease.take(self._name(), LEASE_S + 2 * every_s)
        except StateError:
            logger.warning("who leads cannot be told", exc_info=True)
            return True
        return self._leading

    def renew(self) -> None:
        """Renew the lease between two turns, if this host holds it."""
        if self._leading:
            self.leads()

    def _name(self) -> str:
        """Name this host, which after a fork is another one."""
        process = this_process()
        if process != self._process:
            self._id, self._process = self._file.join(process), process
        return f"{process}/{self._id}"

    # What the leader does.

    def inherit(self) -> None:
        """
        Take over units of workers that are no more, before the windows are closed.

        Raises:
            StateError: The file cannot be used.
        """
        after_s = LEASE_S + 3 * max(s.check_interval_s for s in self.plan.stages)
        left = self._file.left(but=self._id, after_s=after_s)
        if not left:
            return
        with self._database.transaction(durable=False):
            held = self._lease.held()
            if held is None or held.token != self.token:
                return
            for one in left:
                if one.id not in self._inherited:
                    self._restore(one.id, one.units)
                    self._inherited.add(one.id)
            # What was taken of others goes with what was learned of it, and not now.
            self._name()
            self._file.keep(self._id, self.telemetry.to_json())
            self._file.forget((), self._inherited)
            self._database.after_commit(self._inherited.clear)

    def _restore(self, worker: int, units: object) -> None:
        try:
            self.telemetry.restore(units)  # type: ignore[arg-type]
        except (LookupError, TypeError, ValueError, AttributeError):
            logger.warning("units of worker %d are lost", worker, exc_info=True)

    def gather(self, own: Observation) -> Observation:
        """Return what this host saw together with what others have published."""
        fresh = [*self._unsent, own]
        self._unsent, self._learned = [], [*self._learned, *fresh]
        try:
            waiting = [one for one in self._file.waiting() if one.id not in self._taken]
        except StateError:
            logger.warning("what others saw cannot be read", exc_info=True)
            waiting = []
        self._taken.update(one.id for one in waiting)
        return self._together(own, fresh[:-1], waiting)

    def _together(
        self, own: Observation, before: list[Observation], others: list[Published]
    ) -> Observation:
        places: dict[int, Observation] = {}
        stale: list[Observation] = []
        own = self._told_by(self._id, own)
        mine = [(0, self._told_by(self._id, seen)) for seen in before]
        readable = [
            (one.worker, self._told_by(one.worker, one.observation))
            for one in others
            if one.observation
        ]
        for place, seen in [*mine, (0, own), *readable]:
            if seen.exposure != own.exposure:
                stale.append(seen)
            elif place in places:
                places[place] = places[place].merge(seen)
            else:
                places[place] = seen
        together, falls = places.pop(0), self._falls() if places else ()
        for seen in places.values():
            together = together.beside(seen, falls=falls)
        if places and self.plan.unit is not Unit.TASK:
            together = _not_told_apart(together)
        lost = len(others) - len(readable)
        return _marked(together, stale, lost) if stale or lost else together

    def _told_by(self, worker: int, seen: Observation) -> Observation:
        """Say whose telemetry told the users in *seen*: another may tell them again."""
        windows = [seen.candidate, seen.control or Window()]
        if self.plan.unit is Unit.TASK or not any(
            n for window in windows for n in window.units.values()
        ):
            return attrs.evolve(seen, streams=())
        generations = seen.streams or (0,)
        told_by = tuple(worker + (each << _GENERATION) for each in generations)
        return attrs.evolve(seen, streams=told_by)

    def _falls(self) -> set[str]:
        """Return the gauges of which the lower one is the worse."""
        metrics = [*METRICS.values(), *self.plan.metrics]
        criteria = self.plugins.criteria.values()
        return {one.stream for one in metrics if one.higher_is_better} | {
            one.stream for one in criteria if one.lower_is_worse
        }

    def write(self) -> None:
        """
        Write down, within the transaction of what was learned, that it was.

        Raises:
            StateError: The file cannot be written.
        """
        self._name()
        self._file.keep(self._id, self.telemetry.to_json())
        self._file.forget(self._taken, self._inherited)
        self._database.after_commit(self._written)

    def _written(self) -> None:
        self._learned.clear()
        self._taken.clear()
        self._inherited.clear()

    # What all others do.

    def unlearn(self) -> None:
        """Take what was not written down for not learned: somebody led meanwhile."""
        self._unsent = [*self._learned, *self._unsent]
        self._learned = []
        self._taken.clear()

    def publish(self, *own: Observation) -> None:
        """
        Leave what this host saw to whoever leads, and what it could not write before.

        Raises:
            StateError: The file cannot be written; it is published with the next one.
        """
        self.unlearn()
        self._unsent += own
        with self._database.transaction(durable=False):
            self._file.publish(self._id, self._unsent)
            self._file.keep(self._id, self.telemetry.to_json())
            self._database.after_commit(self._unsent.clear)

    def leave(self) -> None:
        """
        Let others lead, and have the units that are not of age.

        Raises:
            StateError: The file cannot be written.
        """
        if not self._id or self._process != this_process():
            return
        with self._database.transaction(durable=False):
            self._file.keep(self._id, self.telemetry.to_json())
            self._file.leave(self._id)
            self._lease.release(self._name())


def _not_told_apart(together: Observation) -> Observation:
    """Leave out who is new: users of several workers are new to each of them."""
    control = together.control
    return attrs.evolve(
        together,
        candidate=attrs.evolve(together.candidate, exposed=None),
        control=control and attrs.evolve(control, exposed=None),
    )


def _marked(seen: Observation, stale: list[Observation], lost: int) -> Observation:
    """Return *seen*, which says what others saw in vain."""

    def marked(window: Window, others: Iterable[Window | None]) -> Window:
        errors = dict(window.errors)
        if lost:
            errors["workers"] = f"{lost} observations of others could not be read"
        left_out = sum(_events(other) for other in others if other is not None)
        return attrs.evolve(
            window,
            errors=errors,
            dropped=window.dropped + lost,
            stale=window.stale + left_out,
        )

    control = seen.control
    return attrs.evolve(
        seen,
        candidate=marked(seen.candidate, (one.candidate for one in stale)),
        control=control and marked(control, (one.control for one in stale)),
    )


def _events(window: Window) -> int:
    return window.stale + sum(
        window.events(metric) for metric in {**window.counts, **window.histograms}
    )
