"""What a plan can see, and when: the formulas of the planner."""

from __future__ import annotations

import math

from collections.abc import Sequence

from .grid import GRID, Side, log_mean_exp, steps
from .label import label_share
from .special import log_normal_cdf, normal_cdf, root


def events_to_decide(
    p: float,
    limit: float,
    *,
    side: Side,
    alpha: float,
    quantile: float | None = None,
    grid: tuple[float, ...] = GRID,
) -> float | None:
    """
    Return after how many events an e-process reaches 1 / alpha.

    The best alternative of the grid needs ``ln(1 / alpha) + ln K`` nats and gains on
    average KL(p || limit) an event where it is the truth (Wald, 1945). A quantile takes
    the walk for a Brownian motion with that drift, whose first passage is inverse
    Gaussian (Schrodinger, 1915; Folks and Chhikara, JRSS B 1978).

    Args:
        p: The true probability that an event is bad, inside 0..1.
        limit: The null's, inside 0..1.
        side: Whether the evidence is that p is above (harm) or below (proof).
        alpha: The level; with a weight w in a sum write alpha w.
        quantile: By when with which probability, as .9; None for the mean.
        grid: Alternatives.

    Returns:
        None where it will not: the truth is in the null, or too near to it.

    Raises:
        ValueError: A probability is not inside 0..1.
    """
    inside = all(0 < each < 1 for each in (limit, alpha, quantile or 0.5))
    if not (inside and 0 <= p <= 1):
        msg = f"planner: got p={p}, limit={limit}, alpha={alpha}, quantile={quantile}"
        raise ValueError(msg)
    nats = math.log(len(grid)) - math.log(alpha)
    drift, variance = max(
        (p * up + (1 - p) * down, p * (1 - p) * (up - down) ** 2)
        for up, down in zip(*steps(limit, side, grid), strict=True)
    )
    if drift <= 0:
        return None
    mean = nats / drift
    if quantile is None or variance == 0:
        return mean
    return _first_passage(nats, drift, variance, quantile)


def more_to_decide(
    logs: Sequence[float], gains: Sequence[float], *, alpha: float
) -> float | None:
    """
    Return how much more of the same a mixture needs to reach 1 / alpha.

    Each alternative goes on from where it stands by its mean gain; the time is that
    after which one half of the walks are there. A walk of nats whose alternatives are
    near has a variance of twice its drift (Wald, 1945), so with b nats to go the median
    is that of an inverse Gaussian with drift 1, variance 2 and distance b.

    Args:
        logs: Log likelihood ratio of each alternative so far, in nats.
        gains: What each alternative gains on average in one unit of time.
        alpha: The level.

    Returns:
        Units of time, 0 where it is decided; None where no alternative gains.

    Raises:
        ValueError: *alpha* is not inside 0..1, or a gain is missing.
    """
    if not 0 < alpha < 1 or len(logs) != len(gains) or not logs:
        msg = f"planner: got {len(logs)} logs, {len(gains)} gains, alpha={alpha}"
        raise ValueError(msg)

    def lacks(time: float) -> float:
        ahead = [log + time * gain for log, gain in zip(logs, gains, strict=True)]
        return -math.log(alpha) - log_mean_exp(ahead)

    nats = lacks(0.0)
    if nats <= 0:
        return 0.0
    best = max(gains)
    if best <= 0:
        return None
    high = nats / best
    while lacks(high) >= 0:
        high *= 2
    return root(lacks, 0.0, high) * _first_passage(nats, 1.0, 2.0, 0.5) / nats


def _first_passage(nats: float, drift: float, variance: float, share: float) -> float:
    """Return the quantile of the inverse Gaussian distribution."""
    tilt = 2 * nats * drift / variance

    def excess(events: float) -> float:
        spread = math.sqrt(variance * events)
        late = tilt + log_normal_cdf(-(drift * events + nats) / spread)
        return normal_cdf((drift * events - nats) / spread) + math.exp(late) - share

    high = nats / drift
    while excess(high) < 0:
        high *= 2
    low = high / 2
    while excess(low) > 0:
        low /= 2
    return root(excess, low, high)


def bad_events_to_decide(
    ratio: float,
    *,
    null: float,
    side: Side,
    rho: float,
    alpha: float,
    quantile: float | None = None,
) -> float | None:
    """
    Return after how many bad events of both arms the label process decides.

    Args:
        ratio: The true risk ratio, above 0.
        null: m, the ratio of the null.
        side: Harm (worse than m) or proof (better than m).
        rho: The candidate's share of the units, inside 0..1.
        alpha: As for `events_to_decide`.
        quantile: As for `events_to_decide`.

    Returns:
        None where it will not.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 < ratio < math.inf and 0 < null < math.inf and 0 < rho < 1):
        msg = f"planner: got ratio={ratio}, null={null}, rho={rho}"
        raise ValueError(msg)
    return events_to_decide(
        label_share(ratio, rho=rho),
        label_share(null, rho=rho),
        side=side,
        alpha=alpha,
        quantile=quantile,
    )


def seconds_to_detect(
    ratio: float,
    *,
    traffic_per_s: float,
    bad_rate: float,
    rho: float,
    alpha: float,
    null: float = 1.0,
    quantile: float | None = None,
) -> float | None:
    """
    Return how long it takes to see that the candidate is *ratio* times as bad.

    Args:
        ratio: The fault: 5 is five times as many bad units.
        traffic_per_s: Units of both arms a second, above 0.
        bad_rate: Control's share of bad units, inside 0..1.
        rho: The candidate's share of the units, inside 0..1.
        alpha: As for `events_to_decide`.
        null: m: no harm is at most this ratio.
        quantile: As for `events_to_decide`.

    Returns:
        Seconds, or None where it will not be seen.

    Raises:
        ValueError: An argument is out of its range.
    """
    events = bad_events_to_decide(
        ratio, null=null, side=Side.HARM, rho=rho, alpha=alpha, quantile=quantile
    )
    return _seconds(events, ratio, traffic_per_s, bad_rate=bad_rate, rho=rho)


def seconds_to_prove(
    margin: float,
    *,
    traffic_per_s: float,
    bad_rate: float,
    rho: float,
    alpha: float,
    ratio: float = 1.0,
    quantile: float | None = None,
) -> float | None:
    """
    Return how long it takes to prove that the candidate is within a *margin*.

    Args:
        margin: m: at most this many times as bad, as 1.25.
        traffic_per_s: As for `seconds_to_detect`.
        bad_rate: As for `seconds_to_detect`.
        rho: As for `seconds_to_detect`.
        alpha: As for `events_to_decide`.
        ratio: The true ratio, below the margin; 1 where nothing changed.
        quantile: As for `events_to_decide`.

    Returns:
        Seconds, or None where it cannot be proven: nobody can prove "no worse" exactly.

    Raises:
        ValueError: An argument is out of its range.
    """
    events = bad_events_to_decide(
        ratio, null=margin, side=Side.PROOF, rho=rho, alpha=alpha, quantile=quantile
    )
    return _seconds(events, ratio, traffic_per_s, bad_rate=bad_rate, rho=rho)


def seconds_to_prove_below(
    limit: float,
    *,
    bad_rate: float,
    traffic_per_s: float,
    rho: float,
    alpha: float,
    quantile: float | None = None,
) -> float | None:
    """
    Return how long it takes to prove that the candidate's rate is below a *limit*.

    Args:
        limit: The floor of ``or_below``, inside 0..1.
        bad_rate: The candidate's true share of bad units, 0 included.
        traffic_per_s: Units of both arms a second, above 0.
        rho: The candidate's share of the units, inside 0..1.
        alpha: As for `events_to_decide`; half of it where ``or_below`` is one of two.
        quantile: As for `events_to_decide`.

    Returns:
        Seconds, or None where it cannot be proven.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not (0 < traffic_per_s < math.inf and 0 < rho <= 1):
        msg = f"planner: got traffic_per_s={traffic_per_s}, rho={rho}"
        raise ValueError(msg)
    events = events_to_decide(
        bad_rate, limit, side=Side.PROOF, alpha=alpha, quantile=quantile
    )
    return None if events is None else events / (traffic_per_s * rho)


def traffic_to_detect(
    ratio: float,
    *,
    within_s: float,
    bad_rate: float,
    rho: float,
    alpha: float,
    null: float = 1.0,
    quantile: float | None = None,
) -> float | None:
    """
    Return how much traffic a fault needs to be seen by a deadline.

    Args:
        ratio: As for `seconds_to_detect`.
        within_s: The deadline in seconds, above 0.
        bad_rate: As for `seconds_to_detect`.
        rho: As for `seconds_to_detect`.
        alpha: As for `events_to_decide`.
        null: As for `seconds_to_detect`.
        quantile: As for `events_to_decide`.

    Returns:
        Units of both arms a second, or None where no traffic is enough.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 < within_s < math.inf:
        msg = f"planner: got within_s={within_s}; write seconds above 0"
        raise ValueError(msg)
    # Time is inverse to traffic.
    seconds = seconds_to_detect(
        ratio,
        traffic_per_s=1.0,
        bad_rate=bad_rate,
        rho=rho,
        alpha=alpha,
        null=null,
        quantile=quantile,
    )
    return None if seconds is None else seconds / within_s


def _seconds(
    events: float | None,
    ratio: float,
    traffic_per_s: float,
    *,
    bad_rate: float,
    rho: float,
) -> float | None:
    if not (0 < traffic_per_s < math.inf and 0 < bad_rate < 1):
        msg = f"planner: got traffic_per_s={traffic_per_s}, bad_rate={bad_rate}"
        raise ValueError(msg)
    if events is None:
        return None
    candidate = rho * min(1.0, bad_rate * ratio)
    return events / (traffic_per_s * (candidate + (1 - rho) * bad_rate))
