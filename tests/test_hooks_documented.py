"""The page of the hooks says what the specs say."""

from __future__ import annotations

import inspect
import re

from pathlib import Path

import pytest

from legion import hookspecs


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "hooks.md"
SPECS = {
    name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "legion_spec")
}


def signature(name):
    return f"{name}({', '.join(inspect.signature(SPECS[name]).parameters)})"


def test_there_are_twelve_hooks():
    """A thirteenth needs a plugin that uses it, a section and a test."""
    assert len(SPECS) == 12


def test_every_heading_is_a_signature():
    """One section for each hook, headed as it is implemented, and none too many."""
    headings = re.findall(r"^## (legion_.*)$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert sorted(headings) == sorted(map(signature, SPECS))


def test_every_section_answers_the_same_questions():
    """When it is called, what None means, how answers combine, what a failure does."""
    text = PAGE.read_text("utf-8")
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = section.partition("(")[0]
        if name not in SPECS:
            continue
        for words in ("**Called**", "**None**", "**Answers**", "**An exception**"):
            assert words in section, f"{name} lacks {words}"
        assert "```python" in section, f"{name} lacks an example"
        for parameter in inspect.signature(SPECS[name]).parameters:
            assert f"`{parameter}`" in section, f"{name} lacks {parameter}"


@pytest.mark.parametrize("name", SPECS)
def test_every_hook_is_tested(name):
    """A test is named for it."""
    wanted = f"def test_hook_{name.removeprefix('legion_')}("
    tests = (ROOT / "tests").rglob("test_*.py")

    assert any(wanted in path.read_text("utf-8") for path in tests)
