"""What may be registered, and what to write instead of what may not."""

from __future__ import annotations

import functools
import inspect
import math
import types

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from ..exceptions import CriterionError, PluginError
from .wording import brief, nearest


if TYPE_CHECKING:
    from ..criteria import Criterion


Options = Mapping[str, object]
_LAZY = (property, functools.cached_property, staticmethod, classmethod)
_PREFIX = "legion_"
_LIMITS = ("warning", "alert", "critical")
_METHODS = {
    "measure": ("window",),
    "judge": ("window", "memory"),
    "events": ("window",),
}
"""What the watchdog calls of a criterion, and with what."""
_MAY_YIELD = frozenset({"legion_propose", "legion_register_criteria"})
_WRITE_CRITERION = (
    "write legion.criteria.Ceiling(...), decorate a function of one window with "
    "@legion.criterion(...), or subclass legion.Criterion and register an instance"
)


@attrs.frozen(kw_only=True)
class Implementation:
    """
    A hook implementation that has passed.

    Attributes:
        hook: Name of the hook.
        function: What is called, bound.
        positional: Arguments it names, in its order.
        keyword: Arguments it takes by keyword only.
    """

    hook: str
    function: Callable[..., object]
    positional: tuple[str, ...]
    keyword: tuple[str, ...]


def name_of(plugin: object) -> str:
    """Return what *plugin* calls itself: a criterion, a module, a class, its type."""
    if (criterion := as_criterion(plugin)) is not None:
        return criterion.name
    own = getattr(plugin, "__name__", None)
    return own if isinstance(own, str) and own else type(plugin).__name__


def as_criterion(plugin: object) -> Criterion | None:
    """Return *plugin* if it is a criterion."""
    from ..criteria import Criterion

    return plugin if isinstance(plugin, Criterion) else None


def deadline_of(plugin: object, name: str) -> float | None:
    """
    Return the seconds that *plugin* gives itself for a call, or None.

    Raises:
        PluginError: ``timeout_s`` is no time.
    """
    seconds = getattr(plugin, "timeout_s", None)
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not math.isfinite(seconds) or seconds <= 0:
        msg = f"got timeout_s={brief(seconds)}; write seconds above 0, or None"
        raise PluginError(name, msg)
    return float(seconds)


@attrs.frozen
class Admission:
    """
    The rules a plugin has to keep.

    Attributes:
        specs: The arguments of every hook, by its name.
        read: Returns the marker of each attribute of a plugin, or None without one.
    """

    specs: Mapping[str, tuple[str, ...]]
    read: Callable[[object], Mapping[str, Options | None]]

    def check(self, plugin: object, name: str) -> tuple[Implementation, ...]:
        """
        Return the hooks that *plugin* implements.

        Raises:
            PluginError: It has none, or one that would be skipped or misread.
            CriterionError: It looks like a criterion and is none.
        """
        _refuse_criterion_class(plugin, name)
        marked = tuple(self._marked(plugin, name))
        found: dict[str, Implementation] = {}
        for attribute, options in marked:
            one = self._implementation(plugin, name, attribute, options)
            if one is None:
                continue
            if one.hook in found:
                msg = f"{attribute} implements it a second time; write it once"
                raise PluginError(name, msg, hook=one.hook)
            found[one.hook] = one
        if "legion_register_criteria" not in found:
            _refuse_half_criterion(plugin, name, hooks=bool(marked))
        if not marked:
            msg = (
                f"got {brief(plugin)}, which has no hook; write an object or a module "
                f"with functions such as {_PREFIX}record, decorated with "
                "@legion.hookimpl"
            )
            raise PluginError(name, msg)
        return tuple(found.values())

    def _marked(self, plugin: object, name: str) -> Iterator[tuple[str, Options]]:
        for attribute, options in self.read(plugin).items():
            if options is not None:
                yield attribute, options
            elif attribute.startswith(_PREFIX) and _would_be_ignored(plugin, attribute):
                msg = (
                    f"{attribute} is not marked as a hook; decorate it with "
                    "@legion.hookimpl, outermost and on a function, or rename it"
                )
                raise PluginError(name, msg)

    def _implementation(
        self, plugin: object, name: str, attribute: str, options: Options
    ) -> Implementation | None:
        hook = str(options.get("specname") or attribute)
        if hook not in self.specs:
            if options.get("optionalhook"):
                return None
            msg = f"there is no hook {hook}; {nearest(hook, self.specs)}"
            raise PluginError(name, msg)
        if options.get("wrapper") or options.get("hookwrapper"):
            msg = (
                f"{attribute} is a wrapper, and hooks are called one by one, so it "
                "would be skipped; write a plain implementation"
            )
            raise PluginError(name, msg, hook=hook)
        function = getattr(plugin, attribute)
        _refuse_unbound(plugin, name, attribute, hook)
        _refuse_asynchronous(function, name, hook)
        positional, keyword = self._arguments(function, name, hook)
        return Implementation(
            hook=hook, function=function, positional=positional, keyword=keyword
        )

    def _arguments(
        self, function: Callable[..., object], name: str, hook: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        positional: list[str] = []
        keyword: list[str] = []
        known = self.specs[hook]
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                msg = f"got {parameter}, which would stay empty; {_write_some(known)}"
                raise PluginError(name, msg, hook=hook)
            if parameter.name not in known:
                hint = nearest(parameter.name, known) if known else _write_some(known)
                msg = f"there is no argument {parameter.name!r}; {hint}"
                raise PluginError(name, msg, hook=hook)
            only = parameter.kind is parameter.KEYWORD_ONLY
            (keyword if only else positional).append(parameter.name)
        return tuple(positional), tuple(keyword)


def refuse_wrong_shape(criterion: Criterion, *, by: str) -> None:
    """
    Raise if the methods of *criterion* cannot be called as the watchdog calls them.

    Raises:
        CriterionError: One takes other arguments, or is async.
    """
    for method, arguments in _METHODS.items():
        function = getattr(criterion, method)
        try:
            takes = inspect.signature(function)
        except ValueError:  # written in C, without a signature to be had
            continue
        try:
            takes.bind(*arguments)
        except TypeError:
            write = f"write {method}({', '.join(('self', *arguments))})"
            msg = f"criterion {criterion.name!r}: {method} takes {takes}; {write}"
            raise CriterionError(by, msg) from None
        if inspect.iscoroutinefunction(function):
            msg = f"criterion {criterion.name!r}: {method} is async; write a plain def"
            raise CriterionError(by, msg)


def _write_some(known: tuple[str, ...]) -> str:
    if not known:
        return "write none"
    return f"write those you want of {', '.join(known)}"


def _would_be_ignored(plugin: object, attribute: str) -> bool:
    static = inspect.getattr_static(plugin, attribute, None)
    return callable(static) or isinstance(static, _LAZY)


def _refuse_criterion_class(plugin: object, name: str) -> None:
    from ..criteria import Criterion

    if isinstance(plugin, type) and issubclass(plugin, Criterion):
        msg = f"got the class; write an instance: {plugin.__name__}(...)"
        raise CriterionError(name, msg)


def _refuse_half_criterion(plugin: object, name: str, *, hooks: bool) -> None:
    """Refuse what somebody took for a criterion; its limits would never be judged."""
    limits = [
        word for word in _LIMITS if isinstance(_static(plugin, word), int | float | str)
    ]
    judge = _static(plugin, "judge")
    if limits:
        has = f"limits ({', '.join(limits)})"
    elif judge is not None and (not hooks or _names_window(judge)):
        has = "a `judge`"
    elif not hooks and inspect.isfunction(plugin) and _names_window(plugin):
        has = "an argument `window`"
    else:
        return
    msg = (
        f"got {brief(plugin)}, which has {has} and is no criterion; {_WRITE_CRITERION}"
    )
    raise CriterionError(name, msg)


def _static(plugin: object, attribute: str) -> object:
    """Read an attribute without running a property."""
    value = inspect.getattr_static(plugin, attribute, None)
    if isinstance(value, types.MemberDescriptorType):
        return getattr(plugin, attribute, None)
    return value


def _names_window(function: object) -> bool:
    inner = getattr(function, "__func__", function)
    return inspect.isfunction(inner) and "window" in inspect.signature(inner).parameters


def _refuse_unbound(plugin: object, name: str, attribute: str, hook: str) -> None:
    if isinstance(plugin, type) and inspect.isfunction(
        inspect.getattr_static(plugin, attribute)
    ):
        msg = (
            "got the class, whose methods lack their object; write an instance: "
            f"{plugin.__name__}(...)"
        )
        raise PluginError(name, msg, hook=hook)


def _refuse_asynchronous(function: Callable[..., object], name: str, hook: str) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        msg = "got an async function, and hooks are synchronous; write a plain def"
        raise PluginError(name, msg, hook=hook)
    if inspect.isgeneratorfunction(function) and hook not in _MAY_YIELD:
        msg = "got a generator, whose body would never run; write return, not yield"
        raise PluginError(name, msg, hook=hook)
