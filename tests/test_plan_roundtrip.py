"""Whatever plan there is, it can be written and read again."""

from __future__ import annotations

import copy
import pickle
import random
import string
import unicodedata

import yaml

from hypothesis import given, settings
from hypothesis import strategies as st

from legion.exceptions import PlanError
from legion.metrics import METRICS, Kind
from legion.stages.plan import Plan


def printable(text):
    """Leave out control characters and blanks: quicker than never to draw them."""
    return "".join(c for c in text if unicodedata.category(c)[0] not in "CZ") or "-"


NAMES = st.text(min_size=1, max_size=12).map(printable)
WORDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
SHARES = st.one_of(
    st.integers(0, 100).map("{}%".format),
    st.floats(0, 0.999),
    st.floats(0, 100).map("{!r} %".format),
)
RISES = st.one_of(SHARES, st.integers(1, 1000).map("{}%".format))
TIMES = st.one_of(
    st.tuples(
        st.integers(1, 500), st.sampled_from(["us", "ms", "s", "m", "h", "d"])
    ).map("{0[0]}{0[1]}".format),
    st.floats(0.001, 1e6).map("{!r} s".format),
    st.tuples(st.integers(1, 23), st.integers(1, 59)).map("{0[0]}h {0[1]}m".format),
)
GROWTHS = st.tuples(
    st.floats(0, 1e6), st.sampled_from(["MB/h", "KiB/s", "GB/day", "B/min"])
).map("{0[0]!r} {0[1]}".format)
COUNTS = st.one_of(st.integers(0, 2**53 - 1), st.floats(0, 1e9))
VALUES = {
    "share": SHARES,
    "s": TIMES,
    "h": TIMES,
    "MB/h": GROWTHS,
    "count": COUNTS,
    "number": COUNTS,
}
LIMITS = ["equals", "below", "at_most", "above", "at_least"]
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
        st.sampled_from(
            ["off", "1e5", "2020-01-01", "1:30", "~", "0o7", "<<", "=", ""]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=8), inner, max_size=3),
    ),
    max_leaves=6,
)


@st.composite
def rules(draw, *, fires):
    metric = METRICS[draw(st.sampled_from(sorted(METRICS)))]
    named = draw(st.sampled_from([metric.name, *metric.aliases]))
    value = VALUES[metric.unit]
    rule = {"metric": named}
    compared = metric.kind is not Kind.COUNT
    test = draw(st.sampled_from([*LIMITS, "detected"] + ["versus"] * 5 * compared))
    if test == "versus":
        rule["versus"] = "baseline"
        rule["worse_by" if fires else "margin"] = draw(
            RISES.filter(lambda rise: str(rise)[:3] not in {"0", "0%", "0.0"})
        )
        if not metric.higher_is_better and draw(st.booleans()):
            rule["or_below"] = draw(value)
    elif test == "detected" and fires and metric.kind in {Kind.COUNT, Kind.GAUGE}:
        rule["detected"] = True
    else:
        rule["equals" if test == "detected" else test] = draw(value)
        if metric.kind is Kind.COUNT and draw(st.booleans()):
            rule["per"] = draw(st.sampled_from(["day", "hour"]))
        if metric.name == "memory_usage" and test in {"below", "at_most"} and not fires:
            rule["stable"] = draw(st.booleans())
    return rule


SPECIAL = st.sampled_from(
    [
        {"metric": "health_check", "failures_in_a_row": 3},
        {"metric": "deadlock", "longer_than": "90s"},
        {"metric": "learning_loop_stall", "longer_than": "100s"},
    ]
)
TRIGGERS = st.dictionaries(
    st.one_of(st.just("immediate"), st.integers(5, 500).map("within {}m".format)),
    st.lists(st.one_of(rules(fires=True), SPECIAL), max_size=3),
    max_size=3,
)


@st.composite
def features(draw):
    found = {}
    for name in draw(st.sets(st.one_of(NAMES, st.just("l4_cache")), max_size=3)):
        more = draw(st.dictionaries(st.text(max_size=8), JSON, max_size=3))
        found[name] = {**more, "enabled": draw(st.booleans())}
        if draw(st.booleans()):
            found[name] = draw(st.booleans())
    if draw(st.booleans()):
        found["watchdog_v4_1"] = {
            "enabled": True,
            "check_interval_seconds": draw(st.integers(1, 10_000)),
        }
    return found


@st.composite
def stages(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    shares = sorted(draw(st.lists(st.floats(0, 1), min_size=3, max_size=3)))
    found = []
    for name, share in zip(names, shares, strict=False):
        stage = {"name": name, "traffic": float(share), "features": draw(features())}
        stage["validate"] = draw(st.lists(rules(fires=False), max_size=3))
        if share == 0:
            rehearsal = {"rehearsal": "rollback", "within": "10 s"}
            stage |= {"mirror": draw(SHARES)}
            stage["validate"] = [*stage["validate"], rehearsal]
        if name != names[-1] or draw(st.booleans()):
            stage["dwell"] = draw(st.sampled_from(["1h", "2d", "90m", "3600.5s"]))
        if draw(st.booleans()):
            stage["success"] = {"unbroken_for": draw(st.sampled_from(["1h", "0.1s"]))}
        found.append(stage)
    return found


CRITERIA = {
    "cpu_usage": False,
    "error_rate": {"warning": 0.01, "critical": "5%"},
    "mobile_success_rate": {"warning": "80%", "alert": "70.123%"},
    "latency_p99": {"warning": "40%", "alert": 0.6, "critical": False},
    "memory_leak": {"alert": "1 MiB/min"},
    "learning_loop_stall": {"alert": "100s"},
    "contradictions": {"warning": 1},
}
OWN = {
    "toxicity": "share",
    "spent": {"kind": "gauge", "unit": "number", "summary": "What it costs."},
    "thought": {"kind": "time", "quantile": "50%", "stream": "thinking"},
    "held": {"kind": "gauge", "unit": "MB", "features": ["l4_cache"]},
    "passed": {"kind": "share", "higher_is_better": True},
}
SUBSETS = st.sets(st.sampled_from(sorted(METRICS))).map(sorted)


def some(of):
    return st.sets(st.sampled_from(sorted(of))).map(
        lambda names: {name: of[name] for name in sorted(names)}
    )


MAPPINGS = st.fixed_dictionaries(
    {
        "plan": NAMES,
        "candidate": NAMES,
        "baseline": NAMES,
        "rollback": st.fixed_dictionaries(
            {"to": NAMES},
            optional={
                "within": st.just("10.5s"),
                "steps": st.just(["route_to_baseline", "validate"]),
            },
        ),
        "stages": stages(),
    },
    optional={
        "unit": st.sampled_from(["task", "session", "user"]),
        "false_rollback": st.floats(0.001, 0.9),
        "false_promotion": st.floats(0.001, 0.9),
        "matures": st.one_of(TIMES, st.just("0s")),
        "check_interval": TIMES,
        "triggers": TRIGGERS,
        "criteria": some(CRITERIA),
        "metrics": some(OWN),
        "collect": SUBSETS,
    },
)


def as_toml(value):
    """Write JSON as TOML in one line a key; TOML has no null."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{as_toml(k)} = {as_toml(v)}" for k, v in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[\n{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return repr(value)


def has_null(value):
    if isinstance(value, dict):
        return any(map(has_null, value.values()))
    if isinstance(value, list):
        return any(map(has_null, value))
    return value is None


@settings(max_examples=120, deadline=None)
@given(MAPPINGS)
def test_every_plan_round_trips(value):
    """
    As a mapping, as YAML, as TOML, pickled and copied: equal, with the same digest.

    TOML says all but settings that are null. Two rules of a stage that differ read
    differently.
    """
    plan = Plan.from_dict(value)
    written = plan.to_dict()
    again = Plan.from_dict(written)

    assert again == plan
    assert again.digest == plan.digest
    assert again.to_dict() == written
    # With allow_unicode, PyYAML folds U+0085 and U+2028 and cannot read them back.
    assert Plan.from_text(yaml.safe_dump(written, sort_keys=False)) == plan
    assert copy.deepcopy(plan) == pickle.loads(pickle.dumps(plan)) == plan
    if not has_null(written):
        text = "".join(f"{as_toml(k)} = {as_toml(v)}\n" for k, v in written.items())
        assert Plan.from_text(text, format="toml") == plan
    for stage in plan.stages:
        assert len({str(rule) for rule in stage.validate}) == len(set(stage.validate))


def faults_of(read):
    """Return the faults, of which an error has at least one; none for a plan."""
    try:
        assert read().digest
    except PlanError as error:
        faults = error.faults
    else:
        return ()
    assert faults
    return faults


def spoil(dice, value, depth=0):
    """Change one thing in a plan: drop, swap, retype or misspell."""
    junk = [
        None,
        0,
        -1,
        1.5,
        "x",
        [],
        {},
        [[]],
        {"a": 1},
        True,
        "5%",
        "1h",
        float("nan"),
    ]
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(list(value))
        changed = dict(value)
        match dice.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[f"{key}x"] = changed.pop(key)
            case _:
                changed[key] = spoil(dice, value[key], depth + 1)
        return changed
    if isinstance(value, list) and value and dice.random() < 0.8:
        index = dice.randrange(len(value))
        return [
            spoil(dice, item, depth + 1) if i == index else item
            for i, item in enumerate(value)
        ]
    return dice.choice(junk)


@settings(max_examples=150, deadline=None)
@given(MAPPINGS, st.integers(0, 2**32))
def test_a_spoilt_plan_is_a_plan_or_a_plan_error(value, seed):
    """No other exception comes of a wrong plan, as a mapping or as YAML."""
    dice = random.Random(seed)
    for _ in range(3):
        value = spoil(dice, value)
    dumped = yaml.safe_dump(value)
    for faults in (
        faults_of(lambda: Plan.from_dict(value)),
        faults_of(lambda: Plan.from_text(dumped)),
    ):
        assert all(fault.key and fault.write for fault in faults)


@settings(max_examples=150, deadline=None)
@given(st.one_of(JSON, st.dictionaries(WORDS, JSON)))
def test_any_value_is_a_plan_or_a_plan_error(value):
    """No other exception comes of a mapping."""
    faults_of(lambda: Plan.from_dict(value))


TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="a-:[]{}&*!|>'\"%#?, \n\t~<=.0", max_size=60),
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sampled_from(["yaml", "toml"]))
def test_any_text_is_a_plan_or_a_plan_error(text, form):
    """No other exception comes of a text."""
    faults_of(lambda: Plan.from_text(text, format=form))
