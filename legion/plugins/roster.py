"""Who is registered, and the table of calls that follows from it."""

from __future__ import annotations

import contextlib
import threading

from collections.abc import Iterator, Mapping
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType
from typing import TYPE_CHECKING

import attrs
import pluggy

from .. import hookspecs
from ..exceptions import PluginError
from .admission import Admission, as_criterion, deadline_of, name_of
from .collection import (
    Entry,
    collect,
    shut_down,
    taken_twice,
    warn_of_a_near_miss,
)
from .deadline import Deadline
from .seat import Seat, Terms
from .wording import brief, nearest


if TYPE_CHECKING:
    from ..criteria import Criterion


_INLINE = frozenset({"legion_startup", "legion_register_criteria"})


class _Manager(pluggy.PluginManager):
    """pluggy, without a look at what cannot be marked; there is much of it."""

    def parse_hookimpl_opts(
        self, plugin: object, name: str
    ) -> pluggy.HookimplOpts | None:
        if name[:2] == "__" or _cannot_be_marked(plugin, name):
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _cannot_be_marked(plugin: object, name: str) -> bool:
    """Tell a method without marks, and a slot with plain data, that nothing hides."""
    if isinstance(plugin, type) or name in getattr(plugin, "__dict__", ()):
        return False
    for base in type(plugin).__mro__:
        if name in base.__dict__:
            found = base.__dict__[name]
            break
    else:
        return False
    if type(found) is MemberDescriptorType:
        try:
            return not isinstance(found.__get__(plugin), FunctionType | MethodType)
        except AttributeError:  # Nothing is in it yet.
            return False
    return type(found) is FunctionType and not found.__dict__


@attrs.frozen
class Table:
    """
    What a call needs to know, never changed once it is published.

    Attributes:
        seats: By hook, the implementations in calling order.
        names: The plugins that take part, in the order of registration.
        criteria: Criteria by name, sorted, without blocked ones.
    """

    seats: Mapping[str, tuple[Seat, ...]]
    names: tuple[str, ...]
    criteria: Mapping[str, Criterion]


@attrs.define(eq=False)
class Roster:
    """
    The plugins of one host.

    Changes are made one at a time, under a lock; each ends with a new `Table` in place
    of the old one, so a call that runs meanwhile sees all of a change or none of it.
    pluggy finds the markers and keeps the order.

    No thread may wait for another's change in ``legion_startup``: the lock is held.

    Attributes:
        given: The arguments of ``legion_startup``.
        terms: What holds for all calls.
        table: The newest table.
        blocked: Names of plugins and criteria that are left out.
    """

    given: Mapping[str, object]
    terms: Terms
    table: Table = attrs.field(init=False)
    blocked: frozenset[str] = attrs.field(init=False, default=frozenset())
    _entries: dict[str, Entry] = attrs.field(init=False, factory=dict)
    _manager: pluggy.PluginManager = attrs.field(init=False)
    _admission: Admission = attrs.field(init=False)
    _lock: threading.RLock = attrs.field(init=False, factory=threading.RLock)
    _collecting: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._manager = _Manager("legion")
        self._manager.add_hookspecs(hookspecs)
        specs = {
            name: tuple(caller.spec.argnames) if caller.spec else ()
            for name, caller in vars(self._manager.hook).items()
        }
        self._admission = Admission(specs, self._manager.parse_hookimpl_opts)
        self._refresh(None)

    def add(self, plugin: object, name: str | None) -> str:
        """Register *plugin*; where that fails, everything is as it was."""
        with self._change():
            entry = self._enter(plugin, self._free_name(plugin, name))
            if entry.name not in self.blocked:
                try:
                    self._admit(entry)
                except BaseException:
                    self._forget(entry)
                    raise
            return entry.name

    def remove(self, plugin_or_name: object) -> None:
        """Take a plugin out and tell it to shut down."""
        with self._change():
            entry = self._find(plugin_or_name)
            self._forget(entry)
            self._refresh(None)
            told = entry.stop()
        shut_down(told)

    def block(self, name: str) -> None:
        """Leave out the plugin and the criterion called *name*, now and later."""
        with self._change():
            warn_of_a_near_miss(name, {*self._entries, *self.table.criteria})
            self.blocked |= {name}
            entry = self._entries.get(name)
            if entry is not None:
                entry.ready = False
            self._refresh(None)
            told = entry.stop() if entry is not None else ()
        shut_down(told)

    def unblock(self, name: str) -> None:
        """Let them in again; a plugin that cannot start stays blocked."""
        with self._change():
            if name not in self.blocked:
                return
            self.blocked -= {name}
            try:
                if (entry := self._entries.get(name)) is not None:
                    self._admit(entry)
                else:
                    self._refresh(None)
            except BaseException:
                self.blocked |= {name}
                raise

    def open(self) -> None:
        """Start everybody who takes part and was told to shut down."""
        with self._change():
            for entry in tuple(self._entries.values()):
                if entry.ready and not entry.started:
                    try:
                        entry.start(self.given)
                    except BaseException:
                        self._forget(entry)
                        self._refresh(None)
                        raise

    def close(self) -> None:
        """Tell everybody who is started to shut down, last in, first out."""
        with self._change():
            seats = self.table.seats["legion_shutdown"]
            stopped = {seat for e in self._entries.values() for seat in e.stop()}
        shut_down(seat for seat in seats if seat in stopped)

    def release(self, name: str) -> None:
        """Lift every quarantine of the plugin called *name*."""
        with self._lock:
            for seat in self._find(name).seats.values():
                seat.release()

    def registered(self) -> Mapping[str, object]:
        """Return everything that is registered, blocked or not, by name."""
        with self._lock:
            return {entry.name: entry.plugin for entry in self._entries.values()}

    def seats(self) -> tuple[Seat, ...]:
        """Return every implementation of every plugin, blocked or not."""
        with self._lock:
            return tuple(s for e in self._entries.values() for s in e.seats.values())

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            if self._collecting:
                who = "legion"
                msg = (
                    "plugins cannot come or go while criteria are collected; do it in "
                    "legion_startup"
                )
                raise PluginError(who, msg, hook="legion_register_criteria")
            yield

    def _free_name(self, plugin: object, name: str | None) -> str:
        wanted = name_of(plugin) if name is None else name
        if not isinstance(wanted, str) or not wanted:
            msg = f"got the name {brief(name)}; write a word, or leave it out"
            raise PluginError(str(wanted), msg)
        for entry in self._entries.values():
            if entry.plugin is plugin:
                msg = f"is registered already, as {entry.name!r}; register it once"
                raise PluginError(wanted, msg)
        if (taken := self._entries.get(wanted)) is None:
            return wanted
        if as_criterion(plugin) is not None and as_criterion(taken.plugin) is not None:
            raise taken_twice(wanted, by=wanted, first=taken.name)
        if name is not None:
            msg = f"the name is taken by {brief(taken.plugin)}; write another"
            raise PluginError(wanted, msg)
        n = 2
        while f"{wanted}-{n}" in self._entries:
            n += 1
        return f"{wanted}-{n}"

    def _enter(self, plugin: object, name: str) -> Entry:
        """Check *plugin* and seat it, unseen by calls until it is admitted."""
        implementations = self._admission.check(plugin, name)
        seconds = deadline_of(plugin, name)
        deadline = None if seconds is None else Deadline(name, seconds)
        seats = {
            one.hook: Seat(
                plugin=name,
                implementation=one,
                terms=self.terms,
                deadline=None if one.hook in _INLINE else deadline,
            )
            for one in implementations
        }
        try:
            self._manager.register(plugin, name)
        except ValueError as error:
            msg = (
                "is equal to one that is registered; compare plugins by identity: "
                "@attrs.define(eq=False)"
            )
            raise PluginError(name, msg) from error
        entry = Entry(name, plugin, seats)
        self._entries[name] = entry
        return entry

    def _admit(self, entry: Entry) -> None:
        """Start *entry* and show it to calls, or leave it stopped and unseen."""
        entry.start(self.given)
        try:
            self._refresh(entry)
        except BaseException:
            shut_down(entry.stop())
            raise

    def _refresh(self, newcomer: Entry | None) -> None:
        """Collect the criteria and publish a new table; *newcomer* may be refused."""
        shown = {
            entry.name: entry
            for entry in self._entries.values()
            if (entry.ready or entry is newcomer) and entry.name not in self.blocked
        }
        self._collecting = True
        try:
            criteria = collect(shown.values(), newcomer)
        finally:
            self._collecting = False
        if newcomer is not None:
            if newcomer.name not in shown:
                msg = "was unregistered or blocked as it started; do that afterwards"
                raise PluginError(newcomer.name, msg, hook="legion_startup")
            newcomer.ready = True
        self.table = Table(
            seats={
                name: tuple(
                    shown[impl.plugin_name].seats[name]
                    for impl in reversed(caller.get_hookimpls())
                    if impl.plugin_name in shown
                )
                for name, caller in vars(self._manager.hook).items()
                if caller.has_spec()
            },
            names=tuple(shown),
            criteria=MappingProxyType(
                {n: criteria[n] for n in sorted(criteria) if n not in self.blocked}
            ),
        )

    def _forget(self, entry: Entry) -> None:
        if self._entries.get(entry.name) is entry:
            del self._entries[entry.name]
            self._manager.unregister(name=entry.name)

    def _find(self, plugin_or_name: object) -> Entry:
        for entry in self._entries.values():
            if entry.plugin is plugin_or_name:
                return entry
        named = isinstance(plugin_or_name, str)
        if named and plugin_or_name in self._entries:
            return self._entries[plugin_or_name]
        name = str(plugin_or_name) if named else brief(plugin_or_name)
        msg = f"is not registered; {nearest(name, self._entries)}"
        raise PluginError(name, msg)
