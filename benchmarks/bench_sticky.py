"""
Simulated users who come back, beside an asymptotic confidence sequence of the same ones.

This is a simulation: nobody's traffic. 2,000 users whose activity has a Pareto tail make
200,000 visits before a stage and 200,000 in it; one visit in a hundred goes badly, nearly
all of them those of a few users; a random twentieth of the users get the candidate. What
the engine would be told goes look by look through the classes by which it judges a share
of users (`Known`, `ComparedEvidence`), at alpha 1 %. How often it is taken back is
printed with Clopper and Pearson's interval of 95 %, the median time of those that were as
a share of the stage, and how often each of the two tests would have done it alone at half
of alpha.

The peer looks as often, at all of alpha and one-sided: bad visits per visit, the ratio of
two sums linearised unit by unit (delta method: Deng, Knoblich and Lu, KDD 2018), in the
asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Annals
of Statistics 52(6), 2024, theorem 2.2) for a difference of means, as GrowthBook has it.

    python benchmarks/bench_sticky.py [RUNS]
"""

from __future__ import annotations

import itertools
import math
import sys

from collections.abc import Iterator
from typing import cast

import attrs
import numpy as np
import numpy.typing as npt

from legion.metrics import find
from legion.model import Observation, Visits, Window
from legion.planner import Rate
from legion.stages import Rule
from legion.stages.evidence import ComparedEvidence, Known, Stay
from legion.stats import geometric_looks


USERS, VISITS, RATE = 2_000, 200_000, 0.01
SHARE, ALPHA = 0.05, 0.01
DWELL_S = 86_400.0
SPREAD = 0.05
"""The first parameter of the users' beta distributed rates of bad visits."""

LOOKS = sorted({*geometric_looks(1.0), *np.linspace(0, 1, 21)[1:].tolist()})
"""Shares of the stage: those of the exact test, and twenty for whoever looks evenly."""

BEFORE, HERE = Stay(1, 0.0), Stay(2, SHARE)
NAME = "error_rate"


@attrs.frozen(kw_only=True)
class Fault:
    """
    What the candidate does.

    Attributes:
        words: Its name.
        times: What each user's own rate of bad visits is multiplied by.
        adds: What is added to everybody's.
        margin: By which share the candidate may be worse.
        harmless: Whether it is within the margin.
    """

    words: str
    times: float = 1.0
    adds: float = 0.0
    margin: float = 0.0
    harmless: bool = False


FAULTS = (
    Fault(words="own errors x2", times=2),
    Fault(words="own errors x5", times=5),
    Fault(words="1 % more for all", adds=RATE),
    Fault(words="harmless", harmless=True),
    Fault(words="x1.25, margin 25 %", times=1.25, margin=0.25, harmless=True),
    Fault(words=".25 % more, margin 25 %", adds=RATE / 4, margin=0.25),
)


@attrs.frozen(kw_only=True)
class Crowd:
    """
    Users, and who of them gets the candidate; arrays of shape (users,).

    Attributes:
        units: Their hashes.
        activity: How many visits each makes in a stage, on average.
        own: How likely each visit is to go badly with control.
        mine: Whether each has the candidate.
    """

    units: npt.NDArray[np.int64]
    activity: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]
    mine: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rng: np.random.Generator) -> Crowd:
        """Draw a crowd with a heavy tail, few of whom have nearly all bad visits."""
        activity = rng.pareto(1.2, USERS) + 0.05
        return cls(
            units=rng.integers(0, 2**63, USERS),
            activity=activity * VISITS / activity.sum(),
            own=rng.beta(SPREAD, SPREAD * (1 / RATE - 1), USERS),
            mine=rng.random(USERS) < SHARE,
        )

    def told(
        self,
        bad: npt.NDArray[np.int64],
        n: npt.NDArray[np.int64],
        who: npt.NDArray[np.bool_],
    ) -> Window:
        """Return what telemetry would tell of the visits of *who*."""
        came = who & (n > 0)
        counts = zip(bad[came].tolist(), n[came].tolist(), strict=True)
        units = dict(zip(self.units[came].tolist(), counts, strict=True))
        gone = frozenset(unit for unit, (y, _) in units.items() if y)
        return Window(
            units={NAME: len(units)},
            bad_units={NAME: gone},
            visits={NAME: Visits(units)},
        )


@attrs.frozen(kw_only=True)
class Run:
    """
    When each of them would have taken the candidate back, as a share of the stage.

    Attributes:
        engine: The mean of both tests; None for never, as below.
        exact: The exact test alone, at half of alpha.
        first: Each unit's first bad visit alone, at half of alpha.
        peer: The confidence sequence.
    """

    engine: float | None
    exact: float | None
    first: float | None
    peer: float | None


def run(fault: Fault, seed: int) -> Run:
    """Return one simulated stage."""
    rng = np.random.default_rng([1, seed])
    crowd = Crowd.of(rng)
    known, evidence = Known(visits=frozenset({NAME})), compared(fault)
    n = rng.poisson(crowd.activity)
    all_of_them = np.ones(USERS, dtype=bool)
    before = crowd.told(rng.binomial(n, crowd.own), n, all_of_them)
    known.see(Observation(at_s=0.0, candidate=Window(), control=before), BEFORE)
    began = Observation(at_s=1.0, candidate=Window(), control=Window())
    evidence.update(known.see(began, HERE))
    fired: dict[str, float] = {}
    for share, bad, n, observation in looks(rng, crowd, fault):
        evidence.update(known.see(observation, HERE))
        found = evidence.finding()
        says = {
            "engine": found.bad >= 1 / ALPHA,
            "exact": cast("float", found.evidence["exact"]) >= 2 / ALPHA,
            "first": cast("float", found.evidence["first_bad"]) >= 2 / ALPHA,
            "peer": lower_bound(bad, n, crowd.mine, worse=1 + fault.margin) > 0,
        }
        for name, fires in says.items():
            if fires:
                fired.setdefault(name, share)
    return Run(**{field.name: fired.get(field.name) for field in attrs.fields(Run)})


def compared(fault: Fault) -> ComparedEvidence:
    """Return the evidence of a trigger that compares the error rate."""
    return ComparedEvidence(
        Rule(metric=NAME, unit="share", versus="baseline", worse_by=1.0),
        metric=find(NAME),
        trigger=True,
        margin=fault.margin,
        share=SHARE,
        alpha=ALPHA,
        stale_s=DWELL_S,
        visits_s=DWELL_S,
    )


def looks(
    rng: np.random.Generator, crowd: Crowd, fault: Fault
) -> Iterator[tuple[float, npt.NDArray[np.int64], npt.NDArray[np.int64], Observation]]:
    """Yield the share of the stage, bad visits and visits so far, and what is new."""
    worse = np.minimum(crowd.own * fault.times + fault.adds, 1)
    rates = np.where(crowd.mine, worse, crowd.own)
    all_bad, all_n = np.zeros((2, USERS), dtype=np.int64)
    for begun, over in itertools.pairwise([0.0, *LOOKS]):
        n = rng.poisson(crowd.activity * (over - begun))
        bad = rng.binomial(n, rates)
        all_bad, all_n = all_bad + bad, all_n + n
        observation = Observation(
            at_s=1.0 + over * DWELL_S,
            candidate=crowd.told(bad, n, crowd.mine),
            control=crowd.told(bad, n, ~crowd.mine),
        )
        yield over, all_bad, all_n, observation


def lower_bound(
    bad: npt.NDArray[np.int64],
    n: npt.NDArray[np.int64],
    mine: npt.NDArray[np.bool_],
    *,
    worse: float,
) -> float:
    """
    Return the peer's bound of the candidate's share less *worse* times control's.

    It is one-sided, so alpha is doubled, and tightest at all users; before twenty users
    of the candidate have come it says nothing.
    """
    came = n > 0
    mine_too, other = came & mine, came & ~mine
    if mine_too.sum() < 20:
        return -math.inf
    units = int(came.sum())
    shares, variance = [], 0.0
    for arm in (mine_too, other):
        share = bad[arm].sum() / n[arm].sum()
        spread = ((bad[arm] - share * n[arm]) / n[arm].mean()).var(ddof=1) / arm.sum()
        variance += units * spread * (1.0 if arm is mine_too else worse**2)
        shares.append(share)
    alpha = 2 * ALPHA
    nats = -2 * math.log(alpha)
    time = units * (nats + math.log1p(nats)) / USERS + 1
    half = math.sqrt(
        variance * 2 * time / (units * (time - 1)) * math.log(math.sqrt(time) / alpha)
    )
    return float(shares[0] - worse * shares[1] - half)


def main(runs: int) -> int:
    """Print a line a fault; return how many harmless ones broke the promise."""
    broken = 0
    print(f"A simulation: {runs:,} stages a line, {USERS:,} users, alpha {ALPHA:.0%}\n")
    print(
        f"{'the candidate':<24}{'engine':>7}  {'95 %':<11} {'median':>6}"
        f"{'exact':>8}{'first bad':>11}{'CS, ratio':>11}  95 %"
    )
    for fault in FAULTS:
        found = [run(fault, seed) for seed in range(runs)]
        when = {
            name: [at for one in found if (at := getattr(one, name)) is not None]
            for name in attrs.fields_dict(Run)
        }
        engine, exact, first, peer = (
            Rate.of_counts(len(times), runs) for times in when.values()
        )
        median = f"{np.median(when['engine']):6.1%}" if engine.n else "     -"
        refuted = fault.harmless and engine.refutes(ALPHA)
        broken += refuted
        print(
            f"{fault.words:<24}{engine.share:7.1%}  {interval(engine):<11} {median}"
            f"{exact.share:8.1%}{first.share:11.1%}{peer.share:11.1%}  {interval(peer)}"
            f"{'  BROKEN' if refuted else ''}",
            flush=True,
        )
    return broken


def interval(share: Rate) -> str:
    """Return the interval of a share in words."""
    return f"{100 * share.low:.1f}-{100 * share.high:.1f}"


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if sys.argv[1:] else 100) else 0)
