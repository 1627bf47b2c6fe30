"""
The twelve hooks.

Every hook is synchronous and quick, is called with keywords, and an implementation
names only the arguments it wants. ``None`` always means "no opinion".

*Isolated* hooks are called one by one, each with its own error handling and timing, so
that a plugin that raises cannot silence those after it. A wrapper around them would be
skipped without a word; it is refused at registration instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import pluggy

from .model import (
    Action,
    Arm,
    Change,
    Count,
    Notice,
    Record,
    Report,
    Ruling,
)


if TYPE_CHECKING:
    from .criteria import Criterion
    from .plugins import Plugins


hookspec = pluggy.HookspecMarker("legion")
hookimpl = pluggy.HookimplMarker("legion")


@hookspec(historic=True)
def legion_startup(plugins: Plugins) -> None:
    """
    Tell a plugin that it belongs to *plugins* now.

    Called once for every plugin, at its registration or, for those registered before,
    when the first call is made. There is no answer. An exception is raised to whoever
    registered the plugin, which is then not registered.

    .. versionadded:: 0.1
    """


@hookspec
def legion_shutdown() -> None:
    """
    Tell a plugin that the host closes.

    Isolated; the plugin registered last is told first. There is no answer. An exception
    is logged, and the others are told all the same.

    .. versionadded:: 0.1
    """


@hookspec
def legion_register_criteria() -> Iterable[Criterion] | None:
    """
    Supply criteria.

    Called whenever plugins come or go. Answers are collected by name; the same name
    twice is an error, and so is anything that is not a criterion. An exception is
    raised to whoever registered the plugin, which is then not registered.

    .. versionadded:: 0.1
    """


@hookspec
def legion_observe(plan: str, arm: Arm) -> Mapping[str, Count | float] | None:
    """
    Supply measurements of one arm.

    Isolated; called for each arm whenever an observation is closed. A `Count` is what
    has happened since this source was last asked for this arm; a number is the level
    right now. Answers are merged; the same metric from two sources is an error that is
    written into the window. An exception means that this source is missing: its metrics
    have no data, and the window says why.

    Args:
        plan: Name of the plan, or "" outside a rollout.
        arm: The arm that is asked for.

    .. versionadded:: 0.1
    """


@hookspec
def legion_choose_stage(plan: str, stage: str, report: Report) -> str | None:
    """
    Ask for a lower stage than the plan's ladder says.

    Isolated; called when the ladder would hold or advance. The answer is the name of a
    stage, or "" for none at all; the lowest of the ladder's and all answers wins, so
    nobody can ask for more than the plan allows. An exception means hold.

    Args:
        plan: Name of the plan.
        stage: Stage that the ladder says.
        report: What it rests on.

    .. versionadded:: 0.1
    """


@hookspec
def legion_propose(
    report: Report, history: Sequence[Record]
) -> Iterable[Change] | None:
    """
    Propose changes.

    Isolated; called once in a turn of the learning loop. Answers are sorted by risk,
    kind and target. An exception means that this proposer is skipped.

    Args:
        report: The newest report.
        history: Records of earlier turns, oldest first.

    .. versionadded:: 0.1
    """


@hookspec
def legion_review(change: Change | Action, report: Report | None) -> Ruling | None:
    """
    Say whether a change or an action may go ahead.

    Isolated; called for every forward act, never for a retreat. The strictest answer
    wins, and the gate's own is always among them, so a reviewer can only add care. An
    exception means DENY.

    Args:
        change: What is to be done.
        report: What it rests on, where there is one.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def legion_activate(target: str, digest: str) -> bool | None:
    """
    Make *digest* the live one of *target*.

    The first plugin that owns *target* answers True once it is live, or False if it was
    left as it was; the others answer None. It must be idempotent: undoing is the same
    call with the old digest. An exception means IN DOUBT: whether it happened is
    settled by `legion_active`. Wrappers are refused.

    Args:
        target: What points, such as ``registry:default``.
        digest: What it is to point at.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def legion_active(target: str) -> str | None:
    """
    Read back which digest of *target* is live.

    The first plugin that owns *target* answers; "" means that nothing is live. This is
    how an activation is verified and how doubt is settled. An exception means IN DOUBT.

    Args:
        target: What points.

    .. versionadded:: 0.1
    """


@hookspec
def legion_record(record: Record) -> None:
    """
    Take note of a record of the journal.

    Isolated, and called last, after the record is written. There is no answer. An
    exception is logged.

    Args:
        record: What was written.

    .. versionadded:: 0.1
    """


@hookspec
def legion_notify(notice: Notice) -> None:
    """
    Tell people of an incident or an open question.

    Isolated; each plugin is a channel. There is no answer. An exception is logged and
    the notice is offered to this channel again at the next turn.

    Args:
        notice: What to tell.

    .. versionadded:: 0.1
    """


@hookspec
def legion_admit(query: str, value: object) -> bool | None:
    """
    Say whether an answer may enter the semantic cache.

    Isolated; any False keeps it out. An exception keeps it out too.

    Args:
        query: The question.
        value: The answer.

    .. versionadded:: 0.1
    """
