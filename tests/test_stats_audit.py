"""How many errors an independent coin overlooked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from legion.stats import overlooked_limit
from legion.stats.audit import TILTS


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.9])
def test_the_limit_holds_at_all_times_at_once(share):
    """
    Of 2,000 histories at alpha .05, 5 % are ever over it at most: it is nearly sharp.

    Only wrong answers move either count, so a history of nothing but wrong ones holds
    every adversary's; what adapts can only choose when it stops. A limit a third lower
    is over in twice as many, so this would notice.
    """
    seed, alpha, runs, steps = 11, 0.05, 2_000, 1_000
    print("seed", seed)
    found = np.random.default_rng(seed).random((runs, steps)) < share
    audited, escaped = found.cumsum(1), (~found).cumsum(1)
    limits = np.array(
        [overlooked_limit(a, share=share, alpha=alpha) for a in range(steps + 1)]
    )

    over = (escaped > limits[audited]).any(1).mean()
    lower = (escaped > limits[audited] * 2 / 3).any(1).mean()

    assert over <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert lower > 2 * alpha


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("found", [0, 1, 5, 40, 1_000])
def test_it_is_never_above_what_each_tilt_alone_would_give(share, found):
    """The published form is the least over the tilts; the average is at most that."""
    alpha = 0.01
    each = [
        (math.log(len(TILTS) / alpha) + c * found)
        / math.log((1 - share * math.exp(-c)) / (1 - share))
        for c in TILTS
    ]

    limit = overlooked_limit(found, share=share, alpha=alpha)

    assert 0.8 * min(each) - 3 <= limit <= min(each)


def test_it_grows_with_what_was_found_and_falls_with_the_share():
    """Unknown judgements counted as wrong err upwards; more audits leave less."""
    for share in (0.05, 0.3, 0.8):
        limits = [overlooked_limit(a, share=share, alpha=0.01) for a in range(200)]
        assert limits == sorted(limits)
    by_share = [overlooked_limit(7, share=s / 20, alpha=0.01) for s in range(21)]
    assert by_share == sorted(by_share, reverse=True)


def test_all_audited_leaves_none_and_none_audited_any_number():
    """The ends are exact."""
    assert overlooked_limit(9, share=1, alpha=0.01) == 0
    assert overlooked_limit(0, share=0, alpha=0.01) == math.inf


@pytest.mark.parametrize(
    "given",
    [(-1, 0.3, 0.01), (0, -0.1, 0.01), (0, 1.1, 0.01), (0, 0.3, 0), (0, 0.3, 1)],
)
def test_what_is_no_probability_is_refused(given):
    """The message says what was given."""
    found, share, alpha = given
    with pytest.raises(ValueError, match="overlooked errors: got"):
        overlooked_limit(found, share=share, alpha=alpha)
