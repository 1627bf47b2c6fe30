"""The package as its author would test it: installed, and found by entry point."""

from __future__ import annotations

import unittest

import legion_toxicity

import legion

from legion.testing import check_criterion


class TestPackage(unittest.TestCase):
    """What the package promises."""

    def test_the_criterion_keeps_the_contract(self) -> None:
        """Our criterion passes the check that legion's own pass."""
        check_criterion(legion_toxicity.toxicity)

    def test_it_is_found_by_its_entry_point(self) -> None:
        """Loading plugins brings a 22nd criterion."""
        plugins = legion.Plugins()
        plugins.load()

        assert len(plugins.criteria) == 22
        assert "toxicity" in plugins.criteria

    def test_it_judges(self) -> None:
        """Six toxic answers of a hundred are critical."""
        plugins = legion.Plugins()
        plugins.load()
        window = legion.Window.of(shares={"toxicity": (6, 100)}, closed_s=600.0)
        report = legion.Watchdog(plugins).judge(
            legion.Observation(at_s=600.0, candidate=window)
        )
        verdict = report.verdict("toxicity")

        assert verdict is not None
        assert verdict.level is legion.Level.CRITICAL


if __name__ == "__main__":
    unittest.main()
