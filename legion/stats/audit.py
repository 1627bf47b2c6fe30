"""How many errors were overlooked, by those that an independent coin found."""

from __future__ import annotations

import math

from functools import lru_cache


TILTS = (0.3, 0.7, 1.5, 50.0)
"""How much rarer than the coin's share the found are taken to be, as a logarithm."""


@lru_cache(maxsize=4096)
def overlooked_limit(found: int, *, share: float, alpha: float) -> float:
    """
    Return how many errors at most were not audited, where *found* were.

    Things happen one after the other; each is wrong or right, and then a coin of its
    own, independent of that and of all before, has it audited with probability
    *share*. Of A wrong ones audited and U not, with any c > 0,

        M = exp(u U - c A),  u = ln((1 - share exp(-c)) / (1 - share))

    stays as it is where a thing is right, and has the mean
    share exp(-c) + (1 - share) exp(u) = 1 times itself where it is wrong. So it is a
    martingale that begins at 1, whatever makes things wrong, be it an adversary who has
    seen every coin before; and so is its average over the tilts c. Such an average ever
    reaches 1 / alpha with probability alpha at most (Ville, 1939; as a likelihood ratio
    of coins that are tilted against finding, Wald, 1945). The limit is the most
    that U can be while it does not, and never above the least over the tilts of
    (ln(4 / alpha) + c A) / u, which each of the four alone would give.

    It grows with *found*, so who counts what is not known yet as wrong errs upwards.

    Args:
        found: Wrong and audited, so far.
        share: Probability of an audit, 0..1; all audited leaves none, none audited
            any number.
        alpha: With which probability, at most, the limit is ever too low.

    Returns:
        A whole number, or infinity; it holds at all times at once.

    Raises:
        ValueError: *found* is below 0, or a probability is none.
    """
    if found < 0 or not 0 <= share <= 1 or not 0 < alpha < 1:
        msg = (
            f"overlooked errors: got {found} found, share={share}, alpha={alpha}; write"
            " a number from 0 up, a share 0..1 and an alpha between them"
        )
        raise ValueError(msg)
    if share in {0, 1}:
        return 0.0 if share == 1 else math.inf
    steps = [math.log1p(-share * math.exp(-c)) - math.log1p(-share) for c in TILTS]
    needed = math.log(len(TILTS) / alpha)
    high = math.floor(
        min((needed + c * found) / u for c, u in zip(TILTS, steps, strict=True))
    )
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        logs = [u * middle - c * found for c, u in zip(TILTS, steps, strict=True)]
        top = max(logs)
        if top + math.log(sum(math.exp(each - top) for each in logs)) < needed:
            low = middle
        else:
            high = middle - 1
    return float(low)
