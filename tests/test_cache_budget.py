"""The error budget: what a cache may still get wrong."""

from __future__ import annotations

import random

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.cache.budget import ErrorBudget


def reckless(budget, request, coins):
    """Everything that is served is wrong."""
    return True


def drifting(budget, request, coins):
    """Good for long, so that a lot is saved; then nothing but wrong."""
    return request > 600


def bursting(budget, request, coins):
    """Whole incidents at a time."""
    return request // 40 % 5 == 4


def emboldened(budget, request, coins):
    """Wrong while the coin has not found anything lately; it sees every coin."""
    return not any(coins[-3:])


def spending(budget, request, coins):
    """Wrong exactly when the most can be had: adaptive serving of the budget's own."""
    return budget.slack(request) > 3


ADVERSARIES = [reckless, drifting, bursting, emboldened, spending]


def worst(adversary, *, judged, judged_first, seed, max_error=0.04, requests=1_000):
    """Return by how much wrong answers were ever over their share."""
    coin = random.Random(f"{adversary.__name__} {judged} {judged_first} {seed}")
    budget = ErrorBudget(max_error=max_error, judged=judged)
    wrong, excess, coins, late = 0, -1.0, [], []
    for request in range(1, requests + 1):
        if late and coin.random() < 0.1:
            late.pop()()
        if budget.permits(request):
            bad = adversary(budget, request, coins)
            audited = coin.random() < judged
            coins.append(audited)
            budget.serve(audited=audited)
            if audited and not bad:
                late.append(budget.clear)
                if judged_first:
                    late.pop()()
            if audited and bad and judged_first:
                budget.withhold()
            else:
                wrong += bad
        excess = max(excess, wrong - max_error * request)
    return excess


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize(("judged", "judged_first"), [(0.3, True), (0.3, False)])
def test_wrong_answers_stay_within_the_budget_at_every_moment(
    adversary, judged, judged_first
):
    """
    In 99 % of 80 histories at least, for every adversary, late judgements included.

    At a true failure rate of 5 % a case of these fails with probability .91.
    """
    over = [
        seed
        for seed in range(80)
        if worst(adversary, judged=judged, judged_first=judged_first, seed=seed) > 0
    ]
    print("over budget", over)
    assert len(over) <= 1


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("judged", [0.0, 1.0])
def test_without_chance_there_is_no_exception(adversary, judged):
    """With all judged or none, the promise is certain: no history is over it."""
    for seed in range(5):
        for first in (True, False):
            excess = worst(adversary, judged=judged, judged_first=first, seed=seed)
            assert excess <= 0


def test_nothing_judged_serves_the_promised_share_of_requests():
    """Without a judge every hit may be wrong, so hits are a share of the requests."""
    budget = ErrorBudget(max_error=0.02, judged=0.0)
    served = 0
    for request in range(1, 1_001):
        if budget.permits(request):
            budget.serve(audited=False)
            served += 1
    assert served == 20


def test_the_budget_is_of_use():
    """With one wrong answer in 200 and 30 % judged, most of 4,000 are served."""
    coin = random.Random(3)
    budget = ErrorBudget(max_error=0.02, judged=0.3)
    served = 0
    for request in range(1, 4_001):
        if budget.permits(request):
            served += 1
            audited = coin.random() < 0.3
            budget.serve(audited=audited)
            if audited and coin.random() >= 1 / 200:
                budget.clear()
    assert served > 2_500


steps = st.lists(
    st.sampled_from(["serve", "audit", "clear", "withhold", "blame", "told"])
)


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from([0.0, 0.1, 0.3, 0.9, 1.0]))
def test_only_a_right_judgement_loosens_it(steps, judged):
    """Whatever is told in whatever order, the limit falls by judgements alone."""
    budget = ErrorBudget(max_error=0.01, judged=judged)
    pending = right = 0
    for step in steps:
        before = budget.wrong_limit()
        if step in {"serve", "audit"}:
            budget.serve(audited=step == "audit")
            pending += step == "audit"
        elif step in {"clear", "withhold"} and pending:
            pending -= 1
            right += step == "clear"
            budget.clear() if step == "clear" else budget.withhold()
            assert budget.wrong_limit() <= before
            continue
        elif step == "blame" and right:
            right -= 1
            budget.blame(audited=True)
        elif step == "told":
            budget.blame(audited=False)
        assert budget.wrong_limit() >= before
        assert budget.wrong_limit() <= budget.served
