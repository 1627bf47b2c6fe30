"""The Mann-Whitney judge: Kayenta's own cases, ties, and what a window can tell."""

from __future__ import annotations

import json
import math

from pathlib import Path
from statistics import NormalDist

import pytest

from hypothesis import given
from hypothesis import strategies as st

import legion

from legion.exceptions import CriterionError
from legion.integrations import KayentaJudge
from legion.integrations.kayenta import (
    Classifier,
    Label,
    Sample,
    shift_of,
    statistic,
    superiority,
)
from legion.integrations.kayenta.root import root
from legion.model import Level, Missing, Observation, Window
from legion.stats import LogHistogram
from legion.testing import check_criterion


FOLDER = Path(__file__).parents[1] / "../shared/vectors/stages"
CLASSIFIER = FOLDER / "kayenta_classifier.json"
MANN_WHITNEY = FOLDER / "kayenta_mannwhitney.json"
E = 1e-6


def classifier_of(case: dict) -> Classifier:
    params = case["params"]
    return Classifier(
        direction=case["direction"].lower(),
        tolerance=params.get("tolerance", 0.25),
        confidence=params.get("confLevel", 0.95),
        effect="cles" if params.get("effectSizeMeasure") == "cles" else "mean_ratio",
        allowed=tuple(params.get("effectSizeThresholds", (1.0, 1.0))),
        critical=tuple(params.get("criticalThresholds", (1.0, 1.0)))
        if case["critical_metric"]
        else None,
        nan="replace" if case["nan_strategy"] == "Replace" else "remove",
        must_have_data=case["data_required"],
        means_only=case["classifier"] == "MeanInequalityClassifier",
    )


@pytest.mark.skipif(
    not CLASSIFIER.exists(),
    reason="Kayenta's cases are not at ../shared/vectors/stages",
)
def test_every_case_of_kayenta_s_is_classified_as_it_is_there():
    """37 cases: direction, missing data, effect sizes, critical metrics, ties."""
    cases = json.loads(CLASSIFIER.read_text())["cases"]
    wrong = {}
    for case in cases:
        found = classifier_of(case).classify(
            Sample.of(case["experiment"]), Sample.of(case["control"])
        )
        expected = case["expect"]
        said = {
            "classification": found.label.value.capitalize(),
            "critical": found.critical,
            "deviation": "NaN" if math.isnan(found.ratio) else found.ratio,
        }
        # The one case that expects no label expects a reason.
        if any(said[key] != value for key, value in expected.items()) or (
            not expected and not found.reason
        ):
            wrong[case["name"]] = found

    assert len(cases) == 37
    assert wrong == {}


def near(found: float, expected: float, within: float = E) -> bool:
    return abs(found - expected) <= within


@pytest.mark.skipif(
    not MANN_WHITNEY.exists(),
    reason="Kayenta's numbers are not at ../shared/vectors/stages",
)
def test_the_test_s_numbers_are_kayenta_s_and_r_s():
    """7 cases to 1e-6; the two estimates tied out with R to 1e-4, as there."""
    cases = {
        case["name"].rpartition(":")[2].strip(): case
        for case in json.loads(MANN_WHITNEY.read_text())["cases"]
    }
    assert len(cases) == 7
    arrays = {
        name: {key: Sample.of(values) for key, values in case["arrays"].items()}
        for name, case in cases.items()
    }

    x, y = arrays["Wilcoxon Diff Function"].values()
    assert near(statistic(x, y, 0), -1.229416)
    assert near(statistic(x, y, 5), -35.80606)

    assert near(NormalDist().inv_cdf(0.01), -2.326348)
    assert cases["Test zQuant"]["asserts"] == ["-2.326348, zQuant, E"]

    simple = arrays["Mann-Whitney Confidence Interval & Estimate"]
    shift = shift_of(simple["experimentData"], simple["controlData"], 0.95)
    assert near(shift.low, 6)
    assert near(shift.high, 39)
    assert near(shift.estimate, 22.5)

    hard = arrays["Problem Case"]
    shift = shift_of(hard["experiment"], hard["control"], 0.98)
    assert near(shift.low, -1.4808028936386108e-5)
    assert near(shift.high, 1.808255910873413e-5)
    assert near(shift.estimate, 1.808255910873413e-5)

    for name in ("Tie out with R Version", "Tie out with R Version (Large)"):
        case, data = cases[name], arrays[name]
        confidence = case["conf"] or 0.95
        shift = shift_of(data["experiment"], data["control"], confidence)
        assert near(shift.low, case["rCiLow"])
        assert near(shift.high, case["rCiHigh"])
        assert near(shift.estimate, case["rEst"], 1e-4)

    name = "Mann-Whitney Intermediate Values / Variables"
    case, (x, y) = cases[name], arrays[name].values()
    least, most = x.values[0] - y.values[-1], x.values[-1] - y.values[0]
    z = -NormalDist().inv_cdf(0.025)
    shift = shift_of(x, y, case["conf"])
    for found, key in (
        (least, "rMumin"),
        (most, "rMumax"),
        (z, "rZqLower"),
        (-z, "rZqUpper"),
        (statistic(x, y, least, z), "rFlower1"),
        (statistic(x, y, most, z), "rFupper1"),
        (statistic(x, y, least, -z), "rFlower2"),
        (statistic(x, y, most, -z), "rFupper2"),
        (shift.low, "rCil"),
        (shift.high, "rCiu"),
        (shift.estimate, "rEst"),
    ):
        assert near(found, case[key]), key


few = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(few, few, st.sampled_from([0.0, 1.0, -2.0]))
def test_the_statistic_is_that_of_ranks_written_out(xs, ys, shift):
    """Counting ties by groups says what ranking every value says."""
    pooled = [x - shift for x in xs] + ys
    n, m = len(xs), len(ys)
    ranks = [sum(v < p for v in pooled) + (pooled.count(p) + 1) / 2 for p in pooled]
    groups = {p: pooled.count(p) for p in pooled}
    excess = sum(ranks[:n]) - n * (n + 1) / 2 - n * m / 2
    ties = sum(t**3 - t for t in groups.values()) / ((n + m) * (n + m - 1))
    spread = n * m / 12 * (n + m + 1 - ties)
    if len(groups) == 1:
        with pytest.raises(ValueError, match="all observations are tied"):
            statistic(Sample.of(xs), Sample.of(ys), shift)
        return
    half = 0.5 if excess > 0 else -0.5 if excess < 0 else 0.0
    expected = (excess - half) / math.sqrt(spread)

    assert statistic(Sample.of(xs), Sample.of(ys), shift) == pytest.approx(expected)


@given(few, few)
def test_superiority_is_a_share_and_its_mirror_the_rest(xs, ys):
    """Pairs won and pairs lost add up to all, ties half each."""
    x, y = Sample.of(xs), Sample.of(ys)
    won = sum((a > b) + (a == b) / 2 for a in xs for b in ys)

    assert superiority(x, y) == pytest.approx(won / (len(xs) * len(ys)))
    assert superiority(x, y) + superiority(y, x) == pytest.approx(1)


@given(st.floats(-50, 50), st.floats(0.1, 10))
def test_a_root_is_found_to_within_a_ten_thousandth(at, slope):
    """For a line and for a step, from either end."""
    for line in (lambda v: slope * (at - v), lambda v: 1.0 if v < at else -1.0):
        found = root(line, -60.0, 60.0, line(-60.0), line(60.0))
        assert abs(found - at) <= 1e-4


@given(few, few)
def test_histogram_and_values_agree_on_order(xs, ys):
    """Values a bucket apart keep their ranks when read from a histogram."""

    def bucketed(values):
        return Sample.tied(LogHistogram.of(values).buckets())

    plain = superiority(Sample.of(xs), Sample.of(ys))

    assert superiority(bucketed(xs), bucketed(ys)) == pytest.approx(plain)


SLOW = [0.02 * 1.01**i for i in range(200)]


def latency(times: float, *, base: bool = True) -> Window:
    baseline = Window.of(values={"latency": SLOW}) if base else None
    return Window.of(values={"latency": [times * v for v in SLOW]}, baseline=baseline)


@pytest.mark.parametrize(
    ("given", "times", "level"),
    [
        ({}, 1.0, Level.OK),
        ({}, 3.0, Level.ALERT),
        ({}, 0.3, Level.ALERT),
        ({"direction": "increase"}, 0.3, Level.OK),
        ({"direction": "decrease"}, 3.0, Level.OK),
        ({"direction": "decrease"}, 0.3, Level.ALERT),
        ({"alert": 1.5, "critical": 2.0}, 1.3, Level.OK),
        ({"alert": 1.5, "critical": 2.0}, 1.7, Level.ALERT),
        ({"alert": 1.5, "critical": 2.0}, 3.0, Level.CRITICAL),
        ({"critical": 1.0}, 1.0, Level.OK),
        ({"critical": 1.0}, 1.3, Level.CRITICAL),
        ({"effect": "cles", "critical": 0.5}, 1.3, Level.CRITICAL),
        ({"alert": None, "critical": 2.0}, 1.3, Level.ALERT),
        ({"critical": 2.0, "critical_low": 0.5}, 0.3, Level.CRITICAL),
        ({"critical": 2.0, "critical_low": 0.2}, 0.3, Level.ALERT),
        ({"direction": "decrease", "alert": 0.5, "critical": 0.2}, 0.1, Level.CRITICAL),
        ({"direction": "decrease", "alert": 0.5, "critical": 0.2}, 0.8, Level.OK),
        ({"effect": "cles", "alert": 0.9}, 1.3, Level.OK),
        ({"effect": "cles", "alert": 0.9}, 30.0, Level.ALERT),
    ],
)
def test_a_window_s_histograms_are_the_samples(given, times, level):
    """Values of one window, by direction, effect and what is critical."""
    verdict, memory = KayentaJudge("latency", **given).judge(latency(times), None)

    assert verdict.level is level
    assert memory is None
    assert verdict.evidence["candidate_values"] == 200


def test_the_ratio_is_exact_though_values_are_not():
    """The mean comes from the histogram's exact total."""
    verdict, _ = KayentaJudge("latency").judge(latency(2.0), None)

    assert verdict.value == pytest.approx(2.0, rel=1e-12)
    assert "shifted by" in verdict.reason


def test_without_one_arm_there_is_no_level():
    """Neither arm's absence passes, not even where NaN is taken for 0."""
    judge = KayentaJudge("latency", nan="replace")
    for window, code in (
        (latency(1.0, base=False), "no_baseline"),
        (Window(baseline=Window.of(values={"latency": SLOW})), "no_data"),
    ):
        verdict, _ = judge.judge(window, None)
        assert verdict.missing is Missing.NO_DATA
        assert verdict.code == code


def shares(bad: int, base: int | None) -> Window:
    baseline = None if base is None else Window.of(shares={"error_rate": (base, 1000)})
    return Window.of(shares={"error_rate": (bad, 1000)}, baseline=baseline)


def series(judge: KayentaJudge, windows: list[Window]) -> list[legion.Verdict]:
    verdicts, memory = [], None
    for window in windows:
        verdict, memory = judge.judge(window, memory)
        verdicts.append(verdict)
    return verdicts


def test_points_of_many_windows_are_the_samples():
    """A share has no values: one point a window is collected until there are enough."""
    judge = KayentaJudge(
        "errors", metric="error_rate", of="share", direction="increase"
    )
    bad = series(judge, [shares(30 + i % 3, 10 + i % 4) for i in range(12)])
    good = series(judge, [shares(10 + i % 3, 10 + i % 4) for i in range(12)])

    assert [v.code for v in bad[:9]] == ["few_points"] * 9
    assert all(v.missing is Missing.INCONCLUSIVE for v in bad[:9])
    assert bad[-1].level is Level.ALERT
    assert bad[-1].code == Label.HIGH
    assert good[-1].level is Level.OK


def test_only_so_many_points_are_remembered():
    """What was long ago is let go, and the memory stays small."""
    judge = KayentaJudge(
        "errors", metric="error_rate", of="share", points=12, min_points=10
    )
    windows = [shares(90 + i % 3, 10) for i in range(12)]
    windows += [shares(10, 10) for i in range(12)]
    _, memory = judge.judge(windows[0], None)
    for window in windows[1:]:
        verdict, memory = judge.judge(window, memory)

    assert len(memory["candidate"]) == len(memory["control"]) == 12
    assert verdict.level is Level.OK


def test_a_point_that_control_lacks_is_left_out_or_zero():
    """What NaN does is the team's own choice, as it was."""
    windows = [shares(30 + i % 3, None if i % 2 else 30) for i in range(20)]
    out = KayentaJudge("errors", metric="error_rate", of="share", min_points=10)
    zero = KayentaJudge(
        "errors", metric="error_rate", of="share", min_points=10, nan="replace"
    )

    assert series(out, windows)[-1].evidence["control_values"] == 10
    assert series(zero, windows)[-1].evidence["control_values"] == 20


def test_values_may_be_scaled_to_what_the_rule_is_used_to():
    """The interval is found to a ten-thousandth of the unit: seconds may be too big."""
    small = [1e-5 * 1.01**i for i in range(200)]
    window = Window.of(
        values={"latency": [2 * v for v in small]},
        baseline=Window.of(values={"latency": small}),
    )
    seconds, micro, nano = (
        KayentaJudge("latency", scale=scale).judge(window, None)[0].evidence["low"]
        for scale in (1.0, 1e6, 1e9)
    )

    assert micro * 1e3 == pytest.approx(nano, rel=1e-3)
    assert seconds * 1e9 != pytest.approx(nano, rel=0.1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"warning": 0.5}, "it has none, write alert="),
        ({"alert": None}, "has no limit"),
        ({"of": "p42"}, "write values, share"),
        ({"direction": "up"}, "write increase, decrease, either"),
        ({"effect": "d"}, "write mean_ratio, cles"),
        ({"nan": "keep"}, "write remove, replace"),
        ({"points": 5, "min_points": 10}, "no more than are remembered"),
        ({"confidence": 1.0}, "a confidence between 0 and 1"),
        ({"alert": 2.0, "critical": 1.5}, "rise from warning to critical"),
    ],
)
def test_a_malformed_judge_says_what_to_write(given, says):
    """What cannot be judged by is refused where it is made."""
    with pytest.raises(CriterionError, match=says):
        KayentaJudge("latency", **given)


@pytest.mark.parametrize(
    "judge",
    [
        KayentaJudge("latency"),
        KayentaJudge("latency", effect="cles", alert=0.7, critical=0.9),
        KayentaJudge("latency", direction="decrease", alert=0.9, critical=0.5),
        KayentaJudge("errors", metric="error_rate", of="share", min_points=1),
        KayentaJudge("slow", metric="latency", of="p95", nan="replace"),
    ],
    ids=lambda judge: f"{judge.of}-{judge.direction}-{judge.effect}",
)
def test_the_judge_keeps_the_contract(judge):
    """It is a criterion like any other."""
    check_criterion(judge)


def test_a_watchdog_shows_it_beside_legion_s_own():
    """Both verdicts are in one report, and each has its reason."""
    plugins = legion.Plugins()
    plugins.register(KayentaJudge("latency_kayenta", metric="latency"))
    window = latency(3.0)
    seen = Observation(at_s=60, candidate=window, control=window.baseline)
    report = legion.Watchdog(plugins, interval_s=60).judge(seen)

    assert report.verdict("latency_kayenta").level is Level.ALERT
    assert report.verdict("latency_p95").level is Level.ALERT
