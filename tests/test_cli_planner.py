"""``legion check`` with traffic, and ``legion simulate``."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import yaml

from cli_session import legion_says, refusal
from planner_plans import CANARY, plan_of


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(CANARY))
    return path


def test_check_prints_the_calendar_with_dates(canary):
    """Also without traffic, for which nothing is foretold."""
    said = legion_says("check", canary, "--start", "2025-12-01")

    assert said.code == 0
    assert "day 0   2025-12-01  shadow starts, mirroring 100 %" in said.out
    assert "day 5   2025-12-06  production starts with 100 % of the units" in said.out
    assert "Foretold" not in said.out
    found = legion_says("check", canary, "--json").document
    assert found["forecast"] is None
    assert found["calendar"][-1] == {
        "day": 12,
        "date": "",
        "stage": "production",
        "says": "production stable",
    }


def test_check_foretells_what_each_stage_sees(canary):
    """In 80 columns; code 1 where the traffic cannot give what is asked for."""
    words = ("check", canary, "--traffic", "10/s", "--error-rate", "1%")
    said = legion_says(*words)

    assert (said.code, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "x5 in 31 min" in said.out
    assert "+50 % within\n           15 min holds from" in said.out
    assert "proves error_rate at most 25 % above baseline" in said.out
    assert "wants  cache_hit_rate at least 80 %" in said.out
    repeats = legion_says(*words, "--repeats", "5%")
    assert repeats.code == 1
    assert "cannot cache_hit_rate at least 80 %" in repeats.out
    assert legion_says(*words, "--json").document["forecast"]["possible"] is True


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--traffic", "10/fortnight"), "got '10/fortnight'; write units a second"),
        (("--traffic", "0/s"), "got '0/s'; write units a second"),
        (("--traffic", "inf"), "got 'inf'; write units a second"),
        (("--traffic", "1/s", "--error-rate", "1"), "got '1'; write"),
        (("--traffic", "1/s", "--error-rate", "100%"), "above 0% and below 100%"),
        (
            ("--traffic", "1/s", "--repeats", "200%"),
            "write a percentage from 0% to 100%",
        ),
        (("--start", "tomorrow"), "got 'tomorrow'; write a date such as 2025-12-01"),
        (("--start", "2025-13-01"), "got '2025-13-01'; write a date"),
    ],
)
def test_check_refuses_a_wrong_option(canary, words, why):
    """Exit code 2, what was given and what to write."""
    said = legion_says("check", canary, *words)

    assert (said.code, said.out) == (2, "")
    assert why in said.err


def test_check_wants_traffic_with_a_rate(canary):
    """A rate alone foretells nothing."""
    line = refusal(legion_says("check", canary, "--repeats", "5%"), code=2)

    assert "write --traffic 10/s, too" in line


def test_traffic_may_be_told_by_minute_and_hour(canary):
    """10/s is 600/min is 36000/h."""
    said = {
        legion_says("check", canary, "--traffic", each).out
        for each in ("10/s", "10", "600/min", "36000/h")
    }
    assert len(said) == 1


def test_simulate_says_how_often_it_goes_back_for_nothing(canary):
    """With its interval, and that it is simulated; the same for programs."""
    words = ("simulate", canary, "--runs", "40")
    said = legion_says(*words)

    assert (said.code, said.err) == (0, "")
    assert "40 simulated rollouts at 10/s, seed 1" in said.out
    assert "ok   rolled back for nothing: 0 of 40, 0.00% (95 %: 0.00% to 8.81%)" in (
        said.out
    )
    found = legion_says(*words, "--json").document
    assert found["simulated"] is True
    assert found == legion_says(*words, "--json").document


def test_simulate_says_how_fast_a_fault_is_seen(canary, tmp_path):
    """And by which rule, and whom it harmed; and draws it."""
    plot = tmp_path / "plot.svg"
    said = legion_says(
        *("simulate", canary, "--fault", "errors=x3", "--since", "canary_5"),
        *("--runs", "30", "--plot", plot),
    )

    assert said.code == 0
    assert "detected     30 of 30" in said.out
    assert "seen after   " in said.out
    assert "canary_5: error_rate more than 50 % above baseline" in said.out
    drawn = ET.parse(plot).getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "simulated" in drawn.attrib["aria-label"]


def test_simulate_takes_every_circumstance(canary):
    """Sticky units, late outcomes, bursts and daily load, at once."""
    said = legion_says(
        *("simulate", canary, "--runs", "5", "--units", "sticky", "--people", "300"),
        *("--late", "30m", "--bursts", "--daily"),
    )

    assert "300 sticky units, late outcomes, bursts, daily load" in said.out


def test_simulate_says_no_where_the_promise_is_broken(tmp_path):
    """Outcomes that are not compared at equal age: code 1."""
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan_of(dwell="6h").to_dict()))
    said = legion_says("simulate", path, "--runs", "20", "--late", "2h")

    assert said.code == 1
    assert "FAIL rolled back for nothing: 20 of 20" in said.out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--runs", "0"), "got '0'; write a whole number, 1 or more"),
        (("--runs", "ten"), "got 'ten'; write a whole number, 1 or more"),
        (("--seed", "-1"), "write a whole number, 0 or more"),
        (("--late", "30"), "write a time such as 90s"),
        (("--units", "elves"), "invalid choice: 'elves'"),
        (("--people", "0"), "got '0'; write a whole number, 1 or more"),
    ],
)
def test_simulate_refuses_a_wrong_option(canary, words, why):
    """Before anything runs."""
    said = legion_says("simulate", canary, *words)

    assert (said.code, said.out) == (2, "")
    assert why in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--fault", "errors"), "write errors=x3 or latency=+50%"),
        (("--fault", "gremlins=x3"), "which no rule compares; write one of"),
        (
            ("--fault", "errors=x3", "--since", "later"),
            "write one of the stages shadow",
        ),
        (("--since", "shadow"), "write --fault, too"),
        (("--plot", "plot.png"), "write a file that ends in .svg"),
        (("--plot", "no/where.svg"), "write a file that ends in .svg"),
    ],
)
def test_simulate_refuses_what_does_not_fit_the_plan(canary, words, why):
    """One line, exit code 2."""
    assert why in refusal(legion_says("simulate", canary, *words), code=2)
