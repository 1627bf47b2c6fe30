"""Policies: bands, modes, strict mode, containment, and what they refuse."""

from __future__ import annotations

import math

import pytest

from hypothesis import given
from hypothesis import strategies as st

from legion.exceptions import GateError
from legion.gate import Policy
from legion.gate.policy import LIMITS, band
from legion.model import Action, Change, Permission


ALLOW, ASK, DENY = Permission


def tool(risk: float, kind: str = "tool") -> Action:
    return Action(kind=kind, name="try", risk=risk)


@pytest.mark.parametrize(
    ("risk", "name"),
    [
        (0, "low"),
        (0.3, "low"),
        (0.31, "medium"),
        (0.6, "medium"),
        (0.61, "high"),
        (0.8, "high"),
        (0.81, "critical"),
        (1, "critical"),
    ],
)
def test_bands_end_where_the_original_ends_them(risk, name):
    """Low is up to .3, medium to .6, high to .8, critical above."""
    assert band(risk) == name


@pytest.mark.parametrize(("mode", "limit"), LIMITS.items())
def test_a_mode_allows_up_to_its_limit_and_not_a_hair_more(mode, limit):
    """The limit itself is allowed; the next number above it is asked about."""
    policy = Policy(mode=mode, max_risk=1)

    assert policy.rule(tool(limit)).permission is ALLOW
    assert policy.rule(tool(math.nextafter(limit, 1))).permission is ASK


@pytest.mark.parametrize("mode", LIMITS)
def test_nothing_above_max_risk_is_allowed_in_any_mode(mode):
    """Not even aggressive mode allows .71 by itself; strict mode denies it."""
    lenient, strict = Policy(mode=mode), Policy(mode=mode, strict=True)

    assert lenient.rule(tool(0.71)).permission is ASK
    assert strict.rule(tool(0.71)).permission is DENY
    assert strict.rule(tool(0.71)).code == "above_max_risk"


@pytest.mark.parametrize("kind", ["deployment", "data_deletion", "system_config"])
def test_some_kinds_are_always_asked_about(kind):
    """They are asked about even at no risk at all, by whatever mode."""
    ruling = Policy(mode="aggressive").rule(tool(0, kind))

    assert (ruling.permission, ruling.code) == (ASK, "asked_kind")


def test_denied_kinds_are_denied_in_every_containment_but_observe_says_so():
    """A kind that is never allowed is denied before its risk is looked at."""
    for containment in ("ask", "enforce"):
        policy = Policy(deny_kinds={"payment"}, containment=containment)
        assert policy.rule(tool(0, "payment")).code == "denied_kind"


def test_strict_mode_denies_what_it_does_not_know():
    """An unknown kind is denied in strict mode, and goes by its risk otherwise."""
    assert Policy(strict=True).rule(tool(0, "novel")).code == "unknown_kind"
    assert Policy(strict=True, known_kinds=["novel"]).rule(tool(0, "novel")).allowed
    assert Policy().rule(tool(0, "novel")).allowed


def test_containment_ask_turns_a_denial_for_risk_into_a_question():
    """It asks above max_risk, and still denies what is unknown."""
    policy = Policy(strict=True, containment="ask")

    assert policy.rule(tool(0.9)).permission is ASK
    assert policy.rule(tool(0.1, "novel")).permission is DENY


@pytest.mark.parametrize("risk", [math.nan, math.inf, -0.1, 1.1, True, "low", None])
def test_a_risk_that_is_no_risk_is_denied(risk):
    """NaN compares with nothing, so it must not slip between two limits."""
    ruling = Policy(mode="aggressive", max_risk=1).rule(tool(risk))

    assert (ruling.permission, ruling.code) == (DENY, "bad_risk")
    assert repr(risk) in ruling.reason


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"mode": "bold"}, "conservative, standard, aggressive"),
        ({"mode": ["standard"]}, "conservative"),
        ({"containment": "off"}, "observe, ask, enforce"),
        ({"max_risk": 1.5}, "0 to 1"),
        ({"max_risk": math.nan}, "0 to 1"),
        ({"max_risk": "high"}, "0 to 1"),
        ({"max_risk": True}, "0 to 1"),
        ({"expires_s": 0}, "above 0"),
        ({"expires_s": math.inf}, "above 0"),
        ({"strict": "yes"}, "true or false"),
        ({"ask_kinds": "deployment"}, "a list"),
        ({"deny_kinds": None}, "a list"),
        ({"known_kinds": [["tool"]]}, "a list"),
        ({"known_kinds": [1]}, "a list"),
        ({"modes": "standard"}, "mode, max_risk"),
    ],
)
def test_a_wrong_policy_says_what_to_write(given, hint):
    """Every wrong value is a GateError that names it and what to write instead."""
    with pytest.raises(GateError, match=next(iter(given))) as error:
        Policy.from_dict(given)

    assert hint in str(error.value)


def test_all_faults_are_listed_at_once():
    """A policy is mended in one go."""
    with pytest.raises(GateError, match=r"mode=.*max_risk=.*expires_s="):
        Policy(mode="x", max_risk=2, expires_s=-1)


def test_the_digest_names_the_rules_and_not_how_they_were_written():
    """The order of kinds does not matter; every rule does."""
    one = Policy.from_dict({"deny_kinds": ["a", "b"]})
    two = Policy.from_dict({"deny_kinds": ["b", "a"]})

    assert one.digest == two.digest
    assert one.rule(tool(0)).policy == one.digest
    assert len({one.digest, *(Policy(mode=mode).digest for mode in LIMITS)}) == 4
    assert Policy(strict=True).digest != Policy().digest


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(list(LIMITS)), st.booleans())
def test_more_risk_is_never_more_permissive(low, high, mode, strict):
    """The permission does not fall as the risk rises."""
    low, high = sorted((low, high))
    policy = Policy(mode=mode, strict=strict)

    assert policy.rule(tool(low)).permission <= policy.rule(tool(high)).permission


@given(st.floats(0, 1), st.sampled_from(["tool", "deployment", "novel"]))
def test_strict_is_never_more_permissive(risk, kind):
    """Strict mode only adds care."""
    lenient, strict = Policy(), Policy(strict=True)

    assert (
        lenient.rule(tool(risk, kind)).permission
        <= strict.rule(tool(risk, kind)).permission
    )


def test_a_change_is_ruled_on_like_an_action():
    """Kind and risk decide, whatever the noun."""
    change = Change(target="x", before="", after="a", kind="patch", risk=0.6)

    assert Policy().rule(change).code == "medium_risk"


# Exposure.

CAUTIOUS = [
    {"mode": "conservative"},
    *({"mode": mode, "strict": True} for mode in LIMITS),
]
PLAIN = [{"mode": "standard"}, {"mode": "aggressive"}, {}]


def advance(before: object, share: object, **more) -> Change:
    detail = {"share_before": before, "share": share}
    return Change(
        **{
            "target": "rollout:p",
            "before": "a",
            "after": "b",
            "kind": "advance",
            "risk": 0.2 * share if isinstance(share, float | int) else 0.1,
            "detail": {k: v for k, v in detail.items() if v is not None},
            **more,
        }
    )


@pytest.mark.parametrize("policy", CAUTIOUS, ids=str)
@pytest.mark.parametrize(
    ("before", "share", "code"),
    [
        (0, 0.0001, "first_exposure"),
        (0.0, 0.5, "first_exposure"),
        (None, 0.25, "first_exposure"),
        (0, 1, "full_exposure"),
        (0.25, 1.0, "full_exposure"),
        (0.9999, 1, "full_exposure"),
        (0.05, None, "unknown_exposure"),
        (None, None, "unknown_exposure"),
        (0.05, "25%", "unknown_exposure"),
        ("5%", 0.25, "unknown_exposure"),
        (0.05, True, "unknown_exposure"),
        (-1, 0.25, "unknown_exposure"),
    ],
)
def test_the_careful_modes_ask_before_first_and_full_exposure(
    policy, before, share, code
):
    """So does an advance that does not say whom it exposes: it may be anybody."""
    ruling = Policy(**policy).rule(advance(before, share))

    assert (ruling.permission, ruling.code) == (ASK, code)


@pytest.mark.parametrize("policy", CAUTIOUS, ids=str)
@pytest.mark.parametrize(
    ("before", "share"), [(0, 0), (None, 0), (0.01, 0.25), (0.25, 0.9999), (1, 1)]
)
def test_the_careful_modes_let_the_steps_between_pass(policy, before, share):
    """Shadow exposes nobody, and who was exposed before is not a first user."""
    assert Policy(**policy).rule(advance(before, share)).allowed


@pytest.mark.parametrize("policy", PLAIN, ids=str)
@pytest.mark.parametrize("before", [None, 0, 0.25])
@pytest.mark.parametrize("share", [None, 0, 0.05, 1])
def test_the_other_modes_go_by_risk(policy, before, share):
    """A rollout under the default policy goes on without a person, as ever."""
    assert Policy(**policy).rule(advance(before, share)).allowed


def test_exposure_is_asked_about_only_of_an_advance_and_never_outweighs_a_denial():
    """A patch has no users; a kind that is denied stays denied."""
    policy = Policy(mode="conservative", deny_kinds={"advance"})

    assert policy.rule(advance(0, 1)).permission is DENY
    assert Policy(mode="conservative").rule(advance(0, 1, kind="patch")).allowed
    assert Policy(strict=True).rule(advance(0, 1, risk=0.9)).permission is DENY
