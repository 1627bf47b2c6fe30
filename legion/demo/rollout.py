"""The rollout of the demo: real requests, two versions, and the wheel between them."""

from __future__ import annotations

import contextlib
import itertools
import json

from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import attrs

from ..canonical import JSON
from ..host import Host
from ..model import Arm
from ..stages import Plan, Status
from ..wheel import Turn
from .answering import SETTINGS_400, SETTINGS_410, Answering, build
from .clock import EPOCH_S, RequestClock
from .faults import settings_of
from .reuse import Answer, ReuseSource
from .trace import Question, Trace


STABLE = "v4.0.0-stable"


@attrs.frozen(kw_only=True)
class Rehearsal:
    """
    The rollback that was rehearsed while no user was exposed.

    Attributes:
        turn: After which turn, counted from 1.
        took_s: Machine time of the way back, in seconds.
        reason: What came of it.
    """

    turn: int
    took_s: float
    reason: str


@attrs.define(eq=False)
class Demo:
    """
    One run of the demo.

    Attributes:
        trace: The questions.
        directory: Where the state lies.
        seed: Orders the questions.
        bad: The fault that the candidate really has, or None.
        clock: Says how many requests make a day of plan time.
        turns: What happened, turn by turn.
        rehearsal: What came of the rehearsed rollback, once it was rehearsed.
    """

    trace: Trace
    directory: Path
    seed: int = 1
    bad: str | None = None
    clock: RequestClock = attrs.field(factory=RequestClock)
    turns: list[Turn] = attrs.field(init=False, factory=list)
    rehearsal: Rehearsal | None = attrs.field(init=False, default=None)
    plan: Plan = attrs.field(init=False)
    host: Host = attrs.field(init=False)
    _versions: dict[Arm, Answering] = attrs.field(init=False)
    _broken: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        text = files("legion.demo").joinpath("demo.yaml").read_text("utf-8")
        self.plan = Plan.from_text(text, source="demo.yaml")

    @property
    def served(self) -> int:
        """How many requests were answered so far."""
        return self.clock.served

    @property
    def day(self) -> float:
        """Plan time since the start, in days."""
        return (self.clock.plan() - EPOCH_S) / 86_400

    def run(
        self,
        turned: Callable[[Demo], None] = lambda _: None,
        *,
        served: Callable[[Demo], None] = lambda _: None,
    ) -> Status:
        """
        Serve requests and turn the wheel until the rollout is over.

        Args:
            turned: Called after every turn.
            served: Called after every request, outside of what is timed.

        Returns:
            Where the rollout ended; RUNNING if it did not within twice its calendar.
        """
        self._publish()
        with Host.open(self.plan, state=self.directory, clock=self.clock) as host:
            self.host = host
            self._versions = {
                Arm.CONTROL: self._build(STABLE),
                Arm.CANDIDATE: self._build(self.plan.candidate),
            }
            host.plugins.register(
                ReuseSource({arm: one.reuse for arm, one in self._versions.items()}),
                name="demo-reuse",
            )
            for due in self._serve():
                if not due:
                    served(self)
                    continue
                self._turn()
                turned(self)
                self._break_registry()
                if host.engine.state.status.over:
                    break
            return host.engine.state.status

    def version(self, arm: Arm) -> Answering:
        """Return the version that *arm* runs."""
        return self._versions[arm]

    def _publish(self) -> None:
        """Put both versions into the registry: their settings are what runs."""
        from ..registry import Registry

        registry = Registry(self.directory / "registry")
        candidate = settings_of(SETTINGS_410, self.bad)
        stable = registry.put(_settings(SETTINGS_400), version="4.0.0")
        registry.tag(STABLE, stable)
        registry.put(_settings(candidate), version=self.plan.candidate)

    def _build(self, version: str) -> Answering:
        assert self.host.registry is not None
        raw = self.host.registry.read("settings.json", snapshot=version)
        return build(self.trace, json.loads(raw))

    def _turn(self) -> None:
        before = self.host.engine.state.rehearsed_s
        self.turns.append(self.host.tick())
        state = self.host.engine.state
        if before is None and state.rehearsed_s is not None:
            self.rehearsal = Rehearsal(
                turn=len(self.turns),
                took_s=state.rehearsed_s,
                reason=state.rehearsal,
            )

    def _serve(self) -> Iterator[bool]:
        """Serve requests; yield False after each, and True whenever a check is due."""
        yield True
        due_s = self.clock.plan() + self.host.interval_s
        longest_s = EPOCH_S + 2 * sum(_length_s(self.plan))
        questions = self.trace.stream(self.seed)
        for number, question in zip(itertools.count(), questions, strict=False):
            self._ask(number, question)
            self.clock.served += 1
            yield False
            if self.clock.plan() >= due_s:
                yield True
                due_s += self.host.interval_s
            if self.clock.plan() > longest_s:
                return

    def _ask(self, number: int, question: Question) -> None:
        engine = self.host.engine
        candidate = self._versions[Arm.CANDIDATE].answer
        # The candidate's own bug: the engine has counted it as a failed request.
        with contextlib.suppress(ValueError):
            engine.run_sync(
                f"{number}",
                control=self._versions[Arm.CONTROL].answer,
                candidate=candidate,
                args=(question.text,),
                mirror=candidate,
                agree=_same_article,
            )
        engine.traffic.mirror.drain()

    def _break_registry(self) -> None:
        """Flip one byte of a stored object once the first users are exposed."""
        exposed = self.host.engine.exposure.share > 0
        if self.bad != "checksum" or self._broken or not exposed:
            return
        registry = self.host.registry
        assert registry is not None
        digest = registry.files(self.plan.candidate)["settings.json"].digest
        objects = self.directory / "registry" / "objects"
        path = objects / digest[:2] / digest[2:]
        path.chmod(0o644)
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
        self._broken = True


def _same_article(one: Answer, other: Answer) -> bool:
    return one.article == other.article


def _settings(settings: Mapping[str, JSON]) -> dict[str, bytes]:
    return {"settings.json": json.dumps(settings, indent=2, sort_keys=True).encode()}


def _length_s(plan: Plan) -> Iterator[float]:
    for stage in plan.stages:
        yield max(stage.dwell_s or 0.0, stage.unbroken_for_s or 0.0)
