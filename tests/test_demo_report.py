"""What a demo shows: the dashboard, the timeline, the report; figures that are true."""

from __future__ import annotations

import html.parser
import importlib.util
import io
import itertools
import re

from types import SimpleNamespace

import attrs
import numpy as np
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from legion.demo import ending, report
from legion.demo.clock import EPOCH_S, RequestClock
from legion.demo.dashboard import Screen, line
from legion.demo.rollout import Demo
from legion.demo.svg import Line, plot
from legion.demo.timeline import timeline
from legion.demo.trace import load
from legion.model import Move


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("rich") is None, reason="rich is not installed"
)


def letters(asked):
    """Embed by counting letters: no model."""
    vectors = np.zeros((len(asked), 128), dtype=np.float32)
    for vector, text in zip(vectors, asked, strict=True):
        for letter in text:
            vector[ord(letter) % 128] += 1
    return vectors


@pytest.fixture(scope="module")
def caught(tmp_path_factory):
    """A run with the errors fault: small, real, over after a check or two."""
    from legion.cache import embedders

    before = embedders.wordllama
    embedders.wordllama = lambda: letters
    try:
        demo = Demo(
            trace=load(),
            directory=tmp_path_factory.mktemp("demo"),
            bad="errors",
            clock=RequestClock(600),
        )
        shown = []
        demo.run(lambda one: shown.append(line(one)))
        return SimpleNamespace(demo=demo, lines=shown)
    finally:
        embedders.wordllama = before


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (50, 20), (80, 12)])
def test_the_dashboard_fits_the_terminal(caught, width, height):
    """Whatever its size: no line too long, none too many, nothing cut but the timeline."""
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=False
    )
    console.print(Screen(caught.demo))
    lines = console.file.getvalue().splitlines()

    assert max(map(len, lines)) <= width
    assert len(lines) < height
    if (width, height) == (80, 24):
        shown = "\n".join(lines)
        for word in (
            *("stage", "traffic", "uptime", "error rate", "latency p95", "memory"),
            *("CPU", "critical", "alerts", "warnings", "hit rate", "size", "cycles"),
            *("patches", "agent success", "timeline"),
        ):
            assert word in shown, word
        body = [one for one in lines if "timeline" not in one and "day " not in one]
        assert not any("\u2026" in one for one in body)


def test_what_does_not_run_is_not_measured(caught):
    """No cycle, patch or agent runs in the demo, and none is made up."""
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(Screen(caught.demo))
    shown = console.file.getvalue()

    for word in ("cycles", "patches", "agent success"):
        assert re.search(rf"{word} +not measured", shown), word


def test_the_dashboard_shows_what_was_observed(caught):
    """The figures are those of the newest observation, of both versions."""
    seen = caught.demo.turns[-1].observation
    console = Console(file=io.StringIO(), width=80, height=24)
    console.print(Screen(caught.demo))
    shown = console.file.getvalue()

    for window in (seen.candidate, seen.control):
        assert f"{window.share('error_rate'):.1%}" in shown
        assert f"{window.quantile('latency', 0.95) * 1000:.2f} ms" in shown


def test_a_line_a_turn_where_there_is_no_terminal(caught):
    """Day, stage, share, two figures and the move."""
    assert len(caught.lines) == len(caught.demo.turns)
    assert caught.lines[0].split()[-1] == "advance"
    assert caught.lines[-1].split()[-1] == "roll_back"
    assert "not measured" in caught.lines[0]


def test_the_timeline_has_the_rehearsal_and_the_way_back(caught):
    """Each with the time it took."""
    events = timeline(caught.demo)
    assert [event.what for event in events][:2] == [
        *("advance to shadow", "rehearse the rollback"),
    ]
    assert events[-1].what == "roll back"
    assert events[-1].took_s == caught.demo.turns[-1].outcome.took_s
    assert events[1].took_s == caught.demo.host.engine.state.rehearsed_s


def test_holds_for_the_same_cause_are_one_event(caught):
    """From the first day to the last, with what was said last."""
    turn = caught.demo.turns[-1]
    holds = []
    for number in range(3):
        decision = attrs.evolve(
            turn.decision, move=Move.HOLD, code="dwell", reason=f"{number} of 3 h"
        )
        reported = attrs.evolve(turn.report, at_s=EPOCH_S + number * 86_400)
        holds.append(
            attrs.evolve(turn, decision=decision, report=reported, outcome=None)
        )
    (event,) = timeline(SimpleNamespace(turns=holds, rehearsal=None))

    assert (event.when, event.reason) == ("0.0-2.0", "2 of 3 h")


class Page(html.parser.HTMLParser):
    """Checks that every element that is opened is closed, in its order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "circle", "line", "path", "rect"}:
            self.open.append(tag)
        self.outside += [
            value for name, value in attrs if name in {"src", "href"} and value
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        self.text.append(data)


def test_the_report_is_one_file_that_holds_everything(caught, tmp_path):
    """Well formed, nothing loaded from elsewhere, every decision with its reason."""
    report.write(caught.demo, tmp_path / "report.html", took_s=1.0)
    raw = (tmp_path / "report.html").read_text("utf-8")
    page = Page()
    page.feed(raw)
    text = " ".join(page.text)

    assert (page.open, page.outside) == ([], [])
    assert "<script" not in raw
    assert "prefers-color-scheme: dark" in raw
    assert ending.sentence(caught.demo) in text
    for turn in caught.demo.turns:
        assert turn.decision.reason in text
        assert turn.decision.digest[:12] in text
        for verdict in turn.report.verdicts:
            assert verdict.reason in text
    for trigger in caught.demo.plan.triggers:
        assert str(trigger.rule) in text
    assert raw.count("<svg") >= 4


def test_a_report_that_cannot_be_written_says_so(caught, tmp_path):
    """The run is not lost in a traceback."""
    from legion.exceptions import LegionError

    with pytest.raises(LegionError, match="write the name of a file"):
        report.write(caught.demo, tmp_path, took_s=1.0)


def test_targets_and_triggers_are_told_apart(caught):
    """A target that is met holds; a trigger that is met has fired."""
    (targets,) = ending.targets(caught.demo).values()
    fired = [one for one in targets if one.rule.startswith("trigger fired")]
    assert not any(one.holds for one in fired)
    assert "trigger fired, disagreement above 20 %" in {one.rule for one in fired}
    rehearsed = next(one for one in targets if "rehearsed" in one.rule)
    assert rehearsed.holds


def test_a_run_that_was_not_done_says_so(caught):
    """Neither complete nor back: where it holds, and why."""
    demo = caught.demo
    state = SimpleNamespace(status=SimpleNamespace(over=False), reason="")
    waiting = SimpleNamespace(
        host=SimpleNamespace(engine=SimpleNamespace(state=state)),
        plan=demo.plan,
        day=14.0,
        turns=demo.turns,
    )
    assert "not done after 14 days in shadow, " in ending.sentence(waiting)


def test_a_plot_leaves_gaps_where_nothing_was_measured():
    """A gap is two strokes, not a line through zero; no point is drawn for None."""
    drawn = plot([0, 1, 2, 3], [Line("a", [1.0, None, 3.0, 2.0])], [], title="t")
    assert drawn.count("<circle") == 3
    (path,) = re.findall(r"<path class='one' d='([^']+)'", drawn)
    assert path.count("M") == 2


def test_a_plot_of_nothing_says_so():
    """A limit alone is no measurement."""
    lines = [Line("a", [None]), Line("limit", [5.0], "limit")]
    assert "not measured" in plot([0.0], lines, [], title="t")


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.3, 1.0, 7.0, 99.0, 1e6])
def test_every_point_of_a_plot_lies_inside(value):
    """Whatever its size, and if it is the only one."""
    drawn = plot([0.2], [Line("<a>", [value])], [(0.0, "a&b")], title="'t'")
    ((x, y),) = re.findall(r"cx='([\d.]+)' cy='([\d.]+)'", drawn)
    assert 56 <= float(x) <= 720
    assert 20 <= float(y) <= 200
    assert "<a>" not in drawn
    assert "a&amp;b" in drawn


def texts(drawn):
    """Return the box of every text: left, right, baseline."""
    found = re.findall(r"<text x='([\d.]+)' y='([\d.]+)'([^>]*)>([^<]*)</text>", drawn)
    assert len(found) == drawn.count("<text")
    for x, y, how, word in found:
        width = 6.5 * len(word)
        share = 1 if "end" in how else 0.5 if "middle" in how else 0
        left = float(x) - share * width
        yield word, left, left + width, float(y)


@settings(max_examples=60, deadline=None)
@given(
    last=st.floats(0.001, 900),
    at=st.lists(st.floats(0, 1), max_size=6).map(sorted),
    words=st.lists(st.sampled_from(["shadow", "canary_25", "production", "x" * 30])),
)
def test_no_word_of_a_plot_overprints_another(last, at, words):
    """However few checks there were, and however close the stages."""
    marks = [(last * share, word) for share, word in zip(at, words, strict=False)]
    lines = [
        Line("control", [0.3, 2.0]),
        Line("candidate", [None, None]),
        Line("trigger", [None, 5.0], "limit"),
    ]
    boxes = list(texts(plot([0.0, last], lines, marks, title="t")))

    for one, other in itertools.combinations(boxes, 2):
        apart = one[1] >= other[2] or other[1] >= one[2] or abs(one[3] - other[3]) >= 12
        assert apart, (one, other)
    for word, left, right, y in boxes:
        assert 0 <= left, word
        assert right <= 900, word
        assert y >= 10, word
    assert sum(word.startswith("day ") for word, *_ in boxes) > 1
