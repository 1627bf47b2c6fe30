"""The rollout of the demo: real requests, two versions, and the wheel between them."""

from __future__ import annotations

import contextlib
import itertools
import json
import time

from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path

import attrs

from ..canonical import JSON
from ..hookspecs import hookimpl
from ..host import Host, Turn
from ..model import Arm, Count
from ..stages import Plan, Status
from .answering import SETTINGS_400, SETTINGS_410, Answer, Answering, build
from .faults import settings_of
from .trace import Question, Trace


STABLE = "v4.0.0-stable"
EPOCH_S = 1_764_547_200.0
"""Day 0 of the demo's calendar: the first of December 2025."""


@attrs.define(eq=False)
class RequestClock:
    """
    Plan time that passes with the requests; machine time as it is.

    A day is so many requests, so the same seed sees the same traffic in every stage
    whatever the speed of the machine.

    Args:
        requests_per_day: How many requests make a day of plan time.
    """

    requests_per_day: int
    served: int = 0

    def plan(self) -> float:
        """Return plan time, in seconds since the epoch."""
        return EPOCH_S + self.served * 86_400 / self.requests_per_day

    def machine(self) -> float:
        """Return machine time, in seconds."""
        return time.perf_counter()

    def wall(self) -> float:
        """Return the date, in seconds since the epoch."""
        return time.time()


@attrs.define(eq=False)
class ReuseSource:
    """How often each version reused an answer, since last asked."""

    versions: dict[Arm, Answering]
    _seen: dict[Arm, tuple[int, int]] = attrs.field(init=False, factory=dict)

    @hookimpl
    def legion_observe(self, plan: str, arm: Arm) -> dict[str, Count | float]:
        """Answer with the look-ups of *arm* and how many of them hit."""
        reuse = self.versions[arm].reuse
        hits, lookups = self._seen.get(arm, (0, 0))
        self._seen[arm] = (reuse.hits, reuse.lookups)
        return {"cache_hit_rate": Count(reuse.hits - hits, reuse.lookups - lookups)}


@attrs.define(eq=False)
class Demo:
    """
    One run of the demo.

    Attributes:
        trace: The questions.
        directory: Where the state lies.
        seed: Orders the questions.
        bad: The fault that the candidate really has, or None.
        requests_per_day: How many requests make a day of plan time.
        turns: What happened, turn by turn.
    """

    trace: Trace
    directory: Path
    seed: int = 1
    bad: str | None = None
    requests_per_day: int = 900
    turns: list[Turn] = attrs.field(init=False, factory=list)
    plan: Plan = attrs.field(init=False)
    host: Host = attrs.field(init=False)
    _clock: RequestClock = attrs.field(init=False)
    _versions: dict[Arm, Answering] = attrs.field(init=False)
    _broken: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        text = files("legion.demo").joinpath("demo.yaml").read_text("utf-8")
        self.plan = Plan.from_text(text, source="demo.yaml")
        self._clock = RequestClock(self.requests_per_day)

    def run(self, watch: Callable[[Demo], None] = lambda _: None) -> Status:
        """
        Serve requests and turn the wheel until the rollout is over.

        Args:
            watch: Called after every turn.

        Returns:
            Where the rollout ended; RUNNING if it did not within twice its calendar.
        """
        self._publish()
        with Host.open(self.plan, state=self.directory, clock=self._clock) as host:
            self.host = host
            self._versions = {
                Arm.CONTROL: self._build(STABLE),
                Arm.CANDIDATE: self._build(self.plan.candidate),
            }
            host.plugins.register(ReuseSource(self._versions), name="demo-reuse")
            for _ in self._serve():
                self.turns.append(host.tick())
                watch(self)
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

    def _serve(self) -> Iterator[None]:
        """Serve requests; yield whenever a check is due."""
        yield
        due_s = self._clock.plan() + self.host.interval_s
        longest_s = EPOCH_S + 2 * sum(_length_s(self.plan))
        questions = self.trace.stream(self.seed)
        for number, question in zip(itertools.count(), questions, strict=False):
            self._ask(number, question)
            self._clock.served += 1
            if self._clock.plan() >= due_s:
                yield
                due_s += self.host.interval_s
            if self._clock.plan() > longest_s:
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
