"""
Everything legion raises.

    LegionError
    ├── PlanError              the plan is wrong; lists every fault at once
    ├── PluginError            a plugin cannot be registered, or it raised
    │   └── CriterionError     a criterion is malformed, or its name is taken
    ├── MetricError            a metric is unknown, or two sources claim it
    ├── StateError             the state file cannot be used
    │   └── StateCorruptError  ... because its bytes are not what was written
    ├── JournalError           the log is not what its proofs say
    ├── SnapshotError          the registry cannot do what was asked
    │   ├── SnapshotNotFoundError
    │   └── SnapshotCorruptError   a digest does not match
    ├── GateError              an act went around the gate, or an answer is refused
    ├── ContainmentError       a mirrored run reached for a real effect
    ├── EmbeddingError         the embedder returned no embedding
    └── MissingExtraError      an optional package is needed (also an ImportError)

A denial, a hold, a miss or missing data is *not* here: those are values with a reason.
Nor is `NoStandIn`, which is no error: it ends a mirrored run, as GeneratorExit ends a
generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


class LegionError(Exception):
    """Any error that legion raises on purpose."""


@attrs.frozen(kw_only=True)
class Fault:
    """
    One thing that is wrong in a plan.

    Attributes:
        key: Path to the offending key, dotted, such as ``stages[1].traffic``.
        given: What stood there, shortened.
        write: What to write instead.
        line: Line in the file, counted from 1, or None where there is no file.
    """

    key: str
    given: str
    write: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.key}: got {self.given}; write {self.write}"


class PlanError(LegionError):
    """
    The plan is wrong.

    It lists every fault found, not the first one, so that a plan is mended in one go.

    Attributes:
        source: The file, or ``"<dict>"``.
        faults: All faults, in the order of the file.
    """

    def __init__(self, source: str, faults: Sequence[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        super().__init__(source, self.faults)

    def __str__(self) -> str:
        n = len(self.faults)
        head = f"{self.source}: {n} fault{'s' if n != 1 else ''} in the plan"
        return "\n".join([head, *(f"  {fault}" for fault in self.faults)])


class PluginError(LegionError):
    """
    A plugin cannot be registered, or raised where its answer is needed.

    Attributes:
        plugin: Name of the plugin.
        hook: The hook in question, or None.
    """

    def __init__(self, plugin: str, message: str, *, hook: str | None = None) -> None:
        self.plugin = plugin
        self.hook = hook
        where = f"plugin {plugin!r}" + (f", hook {hook}" if hook else "")
        super().__init__(f"{where}: {message}")


class CriterionError(PluginError):
    """A criterion is malformed, or another one already has its name."""


class MetricError(LegionError):
    """
    A metric is unknown, or two sources supply the same one.

    Attributes:
        metric: The metric's name.
    """

    def __init__(self, metric: str, message: str) -> None:
        self.metric = metric
        super().__init__(f"metric {metric!r}: {message}")


class StateError(LegionError):
    """
    The state file cannot be opened, read or written.

    Attributes:
        path: The file.
    """

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        super().__init__(f"{path}: {message}")


class StateCorruptError(StateError):
    """
    The state file's bytes are not what was written.

    Not `StateError` in general: a locked or read-only file may work later, this one
    needs a copy from before.
    """


class JournalError(LegionError):
    """
    The journal is not what its proofs say.

    Attributes:
        seq: The first entry that does not fit, or None where the whole does not.
    """

    def __init__(self, message: str, *, seq: int | None = None) -> None:
        self.seq = seq
        super().__init__(message)


class SnapshotError(LegionError):
    """The registry cannot do what was asked."""


class SnapshotNotFoundError(SnapshotError):
    """No snapshot has that name or digest; the message lists those there are."""


class SnapshotCorruptError(SnapshotError):
    """
    Stored bytes do not match their digest.

    Attributes:
        digest: What the bytes ought to hash to.
        path: Where they lie; they are kept for a look, never served.
    """

    def __init__(self, message: str, *, digest: str, path: str) -> None:
        self.digest = digest
        self.path = path
        super().__init__(message)


class GateError(LegionError):
    """An action went around the gate, or an answer to a question cannot be taken."""


class ContainmentError(LegionError):
    """
    A mirrored run reached for a real effect, which did not happen.

    Not `NoStandIn`: that run asked properly, and nobody could answer.

    Attributes:
        what: The tool, the act or the function.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}: a mirrored run reached for the real effect; call the marked tool,"
            " whose stand-in answers there"
        )


class NoStandIn(BaseException):
    """
    A mirrored run called a tool as control did not, so nobody knows the answer.

    It ends the run, which has no outcome then. It is no Exception, so that an agent that
    hands errors of tools to its model does not go on with an answer that never was.

    Attributes:
        tool: Name of the tool.
    """

    def __init__(self, tool: str) -> None:
        self.tool = tool
        super().__init__(
            f"{tool}: control did not make this call, or its answer could not be kept;"
            " write stand_in= where you mark the tool, to answer it"
        )


class EmbeddingError(LegionError):
    """The embedder raised, or returned other than one finite vector a text."""


class MissingExtraError(LegionError, ImportError):
    """
    An optional package is needed and not installed.

    Attributes:
        extra: Name of the extra that brings it.
    """

    def __init__(self, extra: str, package: str) -> None:
        self.extra = extra
        super().__init__(
            f'{package} is not installed; write: pip install "legion-rollout[{extra}]"'
        )
