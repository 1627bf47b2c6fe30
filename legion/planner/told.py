"""What a forecast says of one question of one stage."""

from __future__ import annotations

import attrs

from ..stats import Side
from .question import Method, Question
from .said import spell, spell_effect, spell_rate, spell_share
from .sight import BEYOND, SHARES, TIMES, Lens, Sight
from .target import least_rate, most_hits


_HITS = "cache_hit_rate"
_BLIND = "the candidate sees nothing here: write traffic or mirror"
_HOW_SLOW = "nobody told how slow control is"


@attrs.frozen(kw_only=True)
class Told:
    """
    What is foreseen of one question.

    Attributes:
        name: The rule in words.
        metric: What it speaks of.
        side: Harm or proof.
        method: Which test answers it.
        alpha: Its share of the budget.
        null: The largest ratio that is no harm, or the least that is no proof; None
            where there is no comparison.
        sights: When which effect is seen.
        traffic_per_s: From which traffic on the plan's own effect is seen by its
            deadline on average, or None.
        traffic_p90_per_s: From which traffic on in nine of ten rollouts.
        proven_s: When it is proven in half of the rollouts if nothing changed, in
            seconds; None where it is not.
        proven_p90_s: When in nine of ten.
        possible: False where this traffic cannot give it within the dwell, None where
            that depends on what nobody has told.
        says: The same as a sentence.
    """

    name: str
    metric: str
    side: Side
    method: Method
    alpha: float
    null: float | None = None
    sights: tuple[Sight, ...] = ()
    traffic_per_s: float | None = None
    traffic_p90_per_s: float | None = None
    proven_s: float | None = None
    proven_p90_s: float | None = None
    possible: bool | None = True
    says: str = ""


def tell_harm(lens: Lens) -> Told:
    """Say what harm is seen when."""
    question = lens.question
    if question.method is Method.ROW or question.windows:
        return _told(question, says=_of_windows(lens))
    if not lens.workload.seen_per_s(question.metric, lens.stage):
        return _told(question, possible=False, says=_BLIND)
    if question.time and question.absolute:
        return _told(question, possible=None, says=_HOW_SLOW)
    if lens.workload.bad_rate(question.metric) is None:
        return _told(question, possible=None, says="nobody told its rate")
    if question.learned and question.before is None:
        return _told(question, possible=None, says="no stage before has a control")
    sights = tuple(lens.sight(effect) for effect in _effects(lens))
    told = attrs.evolve(
        _told(question),
        sights=sights,
        traffic_per_s=lens.traffic_per_s(),
        traffic_p90_per_s=lens.traffic_per_s(quantile=0.9),
    )
    return attrs.evolve(told, says=_sentence(lens, told))


def _of_windows(lens: Lens) -> str:
    """Say what takes back where windows are counted and no units."""
    question = lens.question
    if question.windows:
        return f"in {spell(lens.always_s())} where it is beyond it in each window"
    among = ", ".join(each.metric.name for each in question.among)
    return f"needs proof of one of {among or 'nothing'}; `legion simulate` weighs it"


def _effects(lens: Lens) -> tuple[float, ...]:
    """Return the effects to tell of; those on a limit are beyond it."""
    question, rate = lens.question, lens.workload.bad_rate(lens.question.metric)
    if question.limit and rate:
        beyond = {min(each * question.limit, 1.0) for each in BEYOND}
        return tuple(sorted(share / rate for share in beyond))
    effects: tuple[float, ...] = TIMES if question.time else SHARES
    if question.worse_by is not None:
        effects = tuple(sorted({*effects, 1 + question.worse_by}))
    return effects


def _told(question: Question, *, possible: bool | None = True, says: str = "") -> Told:
    compares = question.learned or question.method in {Method.LABEL, Method.PAIRED}
    return Told(
        name=question.name,
        metric=question.metric.name,
        side=question.side,
        method=question.method,
        alpha=question.alpha,
        null=(1 + question.slower if question.time else question.ratio)
        if compares
        else None,
        possible=possible,
        says=says,
    )


def _sentence(lens: Lens, told: Told) -> str:
    seen = [
        f"{_effect(lens, each.effect)} in {spell(each.p90_s)}"
        for each in reversed(told.sights)
        if each.p90_s is not None
    ]
    blind = [_effect(lens, each.effect) for each in told.sights if each.p90_s is None]
    says = ", ".join(seen)
    if blind:
        says += (
            f"{'; ' if seen else ''}never {' or '.join(blind)}: that is no harm here"
        )
    return says + _promise(lens, told)


def _effect(lens: Lens, effect: float) -> str:
    """Say an effect: as a share where there is a limit, else against control."""
    question, rate = lens.question, lens.workload.bad_rate(lens.question.metric)
    if not question.absolute or rate is None:
        return spell_effect(effect, time=question.time)
    bad = effect * rate
    return spell_share(1 - bad if question.metric.higher_is_better else bad)


def _promise(lens: Lens, told: Told) -> str:
    question = lens.question
    if question.worse_by is None or question.within_s is None:
        return ""
    effect = spell_effect(1 + question.worse_by, time=question.time)
    deadline = spell(question.within_s)
    if question.method is not Method.LABEL:
        return ""
    if told.traffic_per_s is None:
        return f"; {effect} within {deadline} holds at no traffic"
    if lens.workload.traffic_per_s >= told.traffic_per_s:
        return f"; {effect} within {deadline} holds"
    return f"; {effect} within {deadline} holds from {spell_rate(told.traffic_per_s)}"


def tell_proof(lens: Lens) -> Told:
    """Say whether the stage can prove what it must, and when."""
    question, stage = lens.question, lens.stage
    if question.time and question.method is Method.LIMIT:
        return _told(question, possible=None, says=_HOW_SLOW)
    if not lens.workload.seen_per_s(question.metric, stage):
        return _told(question, possible=False, says=_BLIND)
    if lens.workload.bad_rate(question.metric) is None:
        return _target(lens)
    told = attrs.evolve(
        _told(question),
        proven_s=lens.proven_s(quantile=0.5),
        proven_p90_s=lens.proven_s(quantile=0.9),
    )
    dwell_s = stage.dwell_s or stage.unbroken_for_s
    possible = told.proven_s is not None and told.proven_s <= (dwell_s or told.proven_s)
    if told.proven_s is None or told.proven_p90_s is None:
        says = "cannot be proven: it is as bad as that already"
    else:
        says = f"proven in {spell(told.proven_s)}, in 9 of 10 by {spell(told.proven_p90_s)}"
        says += "" if possible else f": longer than its {spell(dwell_s or 0.0)}"
    return attrs.evolve(told, possible=possible, says=says)


def _target(lens: Lens) -> Told:
    """Say which value an absolute target is proven from."""
    question = lens.question
    rate, spotless = (
        (None, 0.0)
        if question.limit is None
        else least_rate(question, lens.stage, lens.workload)
    )
    if question.limit is None:
        return _told(question, possible=None, says="nobody told its rate")
    if rate is None:
        says = f"needs {spotless:.0f} events without a bad one; there are fewer"
        return _told(question, possible=False, says=says)
    says = f"proven from {spell_share(1 - rate)} on"
    if not question.metric.higher_is_better:
        says = f"proven up to {spell_share(rate)}"
    if question.metric.name != _HITS:
        return _told(question, possible=None, says=says)
    return _hits(lens, says)


def _hits(lens: Lens, says: str) -> Told:
    question, repeats = lens.question, lens.workload.repeats
    wanted = 1 - (question.limit or 0.0)
    if repeats is None:
        if wanted > most_hits(0.0):
            says += ": needs exact repeats; tell their share with --repeats"
        return _told(question, possible=None, says=says)
    most = most_hits(repeats)
    if wanted <= most:
        return _told(
            question, says=f"{says}; this traffic can give {spell_share(most)}"
        )
    says = (
        f"with {spell_share(repeats)} exact repeats this traffic gives"
        f" {spell_share(round(most, 2))} at the most; such rates come from exact repeats"
    )
    return _told(question, possible=False, says=says)
