"""What the page on plans shows is a plan."""

from __future__ import annotations

import re

from pathlib import Path

import pytest
import yaml

from legion.exceptions import PlanError
from legion.stages.plan import Plan
from legion.stages.plan.read import _KNOWN as KEYS
from legion.stages.plan.read_stage import _KNOWN as STAGE_KEYS


PAGE = (Path(__file__).parents[1] / "docs/how-to/write-a-plan.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
HEAD = {
    "plan": "p",
    "candidate": "2.0.0",
    "baseline": "1.0.0",
    "rollback": {"to": "v1"},
    "stages": [{"name": "all", "traffic": "100%"}],
}


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "yaml"])
def test_every_part_that_is_shown_loads(text):
    """A part of a plan, put into a plan, has no fault."""
    assert Plan.from_dict({**HEAD, **yaml.safe_load(text)}).stages


def test_every_key_is_explained():
    """The tables of the page name every key of a plan and of a stage."""
    told = set(re.findall(r"`(\w+)`", PAGE))

    assert {*KEYS, *STAGE_KEYS} <= told


def test_the_error_that_is_shown_is_the_error():
    """The message in the page is what the block above it prints."""
    code = next(text for kind, text in BLOCKS if "except PlanError" in text)
    shown = next(text for kind, text in BLOCKS if "faults in the plan" in text)
    plan = re.search(r'from_text\("(.*)"\)', code)[1].encode().decode("unicode_escape")

    with pytest.raises(PlanError) as caught:
        Plan.from_text(plan)
    assert str(caught.value) == shown.strip()
