"""One plugin cannot harm another: errors, time, deadlines, quarantine, the trace."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
import textwrap
import threading

from itertools import count

import pytest

from legion import Arm, Notice, Plugins, Record, Report, hookimpl
from legion.exceptions import PluginError
from legion.plugins import Timing


RECORD = Record(id="1", seq=0, kind="note", at=0.0, body={})
REPORT = Report()
WAIT_S = 10


class Plugin:
    """An object whose attributes are hooks, written without self."""

    def __init__(self, *, timeout_s=None, **hooks):
        self.timeout_s = timeout_s
        for name, function in hooks.items():
            setattr(self, f"legion_{name}", hookimpl(function))


class Hanging:
    """Hangs in every hook until it is let go."""

    def __init__(self, timeout_s=0.02):
        self.timeout_s = timeout_s
        self.go_on, self.calls, self.ended = threading.Event(), 0, []

    def hang(self):
        self.calls += 1
        self.go_on.wait(WAIT_S)
        self.ended.append(threading.current_thread())

    @hookimpl
    def legion_record(self):
        self.hang()

    @hookimpl
    def legion_review(self):
        self.hang()

    @hookimpl
    def legion_activate(self):
        self.hang()
        return True

    def let_go(self):
        self.go_on.set()
        for thread in threading.enumerate():
            if thread.name.startswith("legion plugin"):
                thread.join(WAIT_S)


def failing():
    msg = "no"
    raise ValueError(msg)


@pytest.fixture
def plugins():
    return Plugins(builtins=False)


@pytest.fixture
def hanging():
    """Hang, and be given up soon."""
    plugin = Hanging()
    yield plugin
    plugin.let_go()


@pytest.fixture
def patient():
    """Hang, but later answer in time, on a busy machine too."""
    plugin = Hanging(timeout_s=0.4)
    yield plugin
    plugin.let_go()


def test_one_broken_plugin_silences_nobody(plugins):
    """All are called, before and after it; in a plain pluggy call they are not."""
    seen = []
    plugins.register(Plugin(record=lambda: seen.append("first")))
    plugins.register(Plugin(record=failing))
    plugins.register(Plugin(record=lambda: seen.append("last")))

    plugins.record(RECORD)

    assert seen == ["last", "first"]


class OwnError(BaseException):
    """What some libraries derive from BaseException, to get past everybody."""


@pytest.mark.parametrize("timeout_s", [None, WAIT_S])
@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        RecursionError(),
        StopIteration(),
        asyncio.CancelledError("enough"),
        OwnError(),
        BaseExceptionGroup("both", [OwnError(), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_plugin_raises_stays_with_it(plugins, error, timeout_s, caplog):
    """
    Even a plugin that calls exit() is only broken, and the log has its traceback.

    It fails if one of the two fences in `legion.plugins.seat` says ``Exception``.
    """

    def raising():
        raise error

    broken = Plugin(timeout_s=timeout_s, choose_stage=raising, activate=raising)
    plugins.register(broken, name="p")
    with caplog.at_level(logging.WARNING, "legion"):
        (answer,) = plugins.choose_stage("", "", REPORT)

    assert answer.plugin == "p"
    assert answer.error.startswith(type(error).__name__)
    assert caplog.records[-1].exc_info[1] is error
    with pytest.raises(PluginError, match=type(error).__name__) as raised:
        plugins.activate("rollout:p", "digest")
    assert raised.value.__cause__ is error


def test_a_plugin_that_only_raises_what_is_no_exception_is_quarantined(plugins):
    """It is one failure in a row after the other, like any."""

    def raising():
        raise asyncio.CancelledError

    plugins.register(Plugin(choose_stage=raising), name="p")
    for _ in range(6):
        (answer,) = plugins.choose_stage("", "", REPORT)

    assert "in quarantine: failed 5 times in a row" in answer.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupt_is_for_the_host(plugins, error):
    """Ctrl-C is no fault of a plugin's."""

    def interrupted():
        raise error

    plugins.register(Plugin(record=interrupted, activate=interrupted))

    with pytest.raises(error):
        plugins.record(RECORD)
    with pytest.raises(error):
        plugins.activate("rollout:p", "digest")


def test_an_error_is_one_short_line_whatever_it_says(plugins):
    """The line fits a table; the traceback is in the log."""

    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError

    def wordy():
        raise ValueError("word\n" * 1000)

    def silent():
        raise SilentError

    plugins.register(Plugin(choose_stage=silent))
    plugins.register(Plugin(choose_stage=wordy))
    first, second = plugins.choose_stage("", "", REPORT)

    assert first.error.startswith("ValueError: word word")
    assert len(first.error) == 200
    assert "\n" not in first.error
    assert second.error == "SilentError: (its message cannot be printed)"


def test_a_coroutine_is_an_error_and_not_forgotten(plugins):
    """A plain function that returns one has done nothing yet."""

    async def later():
        """Do something."""

    plugins.register(Plugin(admit=lambda: later()), name="p")  # noqa: PLW0108 - sync

    assert not plugins.admit("q", "a")


def test_calls_are_timed(plugins):
    """Calls, errors, total and worst, by plugin and hook, on the host's timer."""
    ticks = iter([0.0, 1.0, 1.0, 4.0, 10.0, 12.0])
    plugins = Plugins(builtins=False, timer=lambda: next(ticks))
    answers = [lambda: True, failing, lambda: None]
    admit = lambda: answers.pop(0)()  # noqa: E731, PLW0108 - pops at each call
    plugins.register(Plugin(admit=admit, record=failing), name="p")

    for _ in range(3):
        plugins.admit("q", "a")

    assert plugins.timings() == {
        ("p", "legion_admit"): Timing(calls=3, errors=1, total_s=6.0, worst_s=3.0)
    }


def test_no_timing_is_lost_between_threads(plugins):
    """The count is exact, whoever calls."""
    plugins.register(Plugin(record=lambda: None), name="p")

    def call():
        for _ in range(1000):
            plugins.record(RECORD)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert plugins.timings()["p", "legion_record"].calls == 4000


# Quarantine.


def test_who_keeps_failing_is_quarantined_for_that_hook(plugins, caplog):
    """After five failures in a row it is not called, and its answer says so."""
    calls = count()

    def broken():
        next(calls)
        failing()

    plugins.register(Plugin(review=broken, admit=lambda: True), name="p")
    for _ in range(8):
        (answer,) = plugins.review(None, None)

    assert next(calls) == 5
    assert answer.error == "in quarantine: failed 5 times in a row: ValueError: no"
    assert plugins.quarantined() == {("p", "legion_review"): answer.error}
    assert plugins.admit("q", "a")
    assert "release('p') lifts it" in caplog.text
    assert plugins.timings()["p", "legion_review"].calls == 5


def test_a_success_forgets_the_failures():
    """Only failures in a row count, wrong answers among them."""
    plugins = Plugins(builtins=False, quarantine_after=2)
    answers = [None, 1, None, 1, 1]
    plugins.register(Plugin(admit=lambda: answers.pop(0)), name="p")

    for _ in range(4):
        plugins.admit("q", "a")
        assert plugins.quarantined() == {}
    plugins.admit("q", "a")

    assert list(plugins.quarantined()) == [("p", "legion_admit")]


def test_release_lets_a_plugin_try_again():
    """It is called again and starts with no failures."""
    plugins = Plugins(builtins=False, quarantine_after=2)
    plugins.register(Plugin(admit=failing, record=failing), name="p")
    for _ in range(2):
        plugins.admit("q", "a")
        plugins.record(RECORD)
    assert len(plugins.quarantined()) == 2

    plugins.release("p")
    assert plugins.quarantined() == {}
    plugins.admit("q", "a")

    assert plugins.quarantined() == {}
    assert plugins.timings()["p", "legion_admit"].calls == 3


def test_a_quarantined_answer_is_the_careful_one():
    """No answer of a broken plugin ever opens a door."""
    plugins = Plugins(builtins=False, quarantine_after=1)
    hooks = ("observe", "choose_stage", "propose", "review", "admit")
    plugins.register(Plugin(**dict.fromkeys(hooks, failing)), name="p")
    for _ in range(2):
        observed = plugins.observe("", Arm.CONTROL)
        (chosen,) = plugins.choose_stage("", "", REPORT)
        (ruled,) = plugins.review(None, None)

        assert list(observed.errors) == ["p"]
        assert chosen.error is not None
        assert ruled.error is not None
        assert plugins.propose(REPORT, ()) == ()
        assert not plugins.admit("q", "a")
    assert len(plugins.quarantined()) == len(hooks)


def test_an_actor_is_never_quarantined():
    """Going back is activation too: it is tried again however often it failed."""
    plugins = Plugins(builtins=False, quarantine_after=1)
    disk_full = [True]

    def activate():
        if disk_full:
            failing()
        return True

    plugins.register(Plugin(activate=activate), name="p")
    for _ in range(10):
        with pytest.raises(PluginError):
            plugins.activate("t", "d")
    disk_full.clear()

    assert plugins.activate("t", "d")
    assert plugins.quarantined() == {}


def test_a_quarantined_channel_keeps_its_notices():
    """They are told once it is let out."""
    told, down = [], [True]

    def tell(notice):
        if down:
            failing()
        told.append(notice)

    plugins = Plugins(Plugin(notify=tell), builtins=False, quarantine_after=1)
    wanted = [Notice(kind="incident", id=str(n), title="", reason="") for n in (1, 2)]
    for notice in wanted:
        plugins.notify(notice)
    down.clear()

    assert plugins.retry_notices() == 0
    plugins.release("Plugin")
    assert plugins.retry_notices() == 2
    assert told == wanted


def test_quarantine_starts_at_one_failure():
    """Fewer than none makes no sense."""
    with pytest.raises(ValueError, match="write 1 or more"):
        Plugins(builtins=False, quarantine_after=0)


# Deadlines.


def test_a_plugin_without_a_deadline_runs_in_the_callers_thread(plugins):
    """Nothing is paid for what nobody asked for."""
    threads = []
    plugins.register(Plugin(record=lambda: threads.append(threading.current_thread())))
    plugins.record(RECORD)

    assert threads == [threading.current_thread()]


def test_a_plugin_with_a_deadline_has_the_callers_context(plugins):
    """It runs in another thread and reads the same context variables."""
    var = contextvars.ContextVar("unit")
    seen = []
    timed = Plugin(
        timeout_s=WAIT_S,
        choose_stage=lambda stage: seen.append(threading.current_thread()) or var.get(),
        review=failing,
        activate=lambda: True,
    )
    plugins.register(timed, name="p")
    var.set("u-1")

    assert plugins.choose_stage("", "", REPORT)[0].value == "u-1"
    assert seen[0] is not threading.current_thread()
    assert plugins.review(None, None)[0].error == "ValueError: no"
    assert plugins.activate("t", "d") is True
    assert plugins.timings()["p", "legion_review"].errors == 1


def test_a_plugin_that_hangs_is_given_up_and_quarantined(plugins, hanging):
    """The others are asked, the answer is an error, and it is not asked again."""
    seen = []
    plugins.register(Plugin(record=lambda: seen.append(1)))
    plugins.register(hanging, name="slow")
    for _ in range(3):
        plugins.record(RECORD)

    assert seen == [1, 1, 1]
    assert hanging.calls == 1
    assert plugins.quarantined() == {
        ("slow", "legion_record"): "in quarantine: did not answer within 0.02 s"
    }
    timing = plugins.timings()["slow", "legion_record"]
    assert (timing.calls, timing.errors) == (1, 1)
    assert timing.worst_s >= 0.02


def test_while_one_call_hangs_no_hook_of_that_plugin_is_called(plugins, hanging):
    """Threads do not pile up, and a hang is no verdict on the other hooks."""
    plugins.register(hanging, name="slow")
    plugins.record(RECORD)
    before = threading.active_count()
    for _ in range(20):
        (answer,) = plugins.review(None, None)
        with pytest.raises(PluginError, match="an earlier call hangs"):
            plugins.activate("t", "d")

    assert answer.error == "was not called: an earlier call hangs beyond 0.02 s"
    assert threading.active_count() == before
    assert hanging.calls == 1
    assert list(plugins.quarantined()) == [("slow", "legion_record")]


def test_a_release_does_not_pile_up_threads_either(plugins, patient):
    """Out of quarantine, it is called only once the hung call has ended."""
    plugins.register(patient, name="slow")
    plugins.record(RECORD)
    plugins.release("slow")
    plugins.record(RECORD)
    assert patient.calls == 1

    patient.let_go()
    plugins.record(RECORD)

    assert patient.calls == 2
    assert plugins.quarantined() == {}


def test_an_activation_that_hangs_is_in_doubt_and_may_be_tried_again(plugins, patient):
    """Once the hung call has ended, the plugin is asked again."""
    plugins.register(patient, name="slow")
    with pytest.raises(PluginError, match=r"did not answer within 0.4 s") as info:
        plugins.activate("t", "d")
    assert (info.value.plugin, info.value.hook) == ("slow", "legion_activate")

    patient.let_go()

    assert plugins.activate("t", "d") is True


def test_what_comes_too_late_is_logged(plugins, hanging, caplog):
    """An answer that nobody waits for is dropped, not lost without a word."""
    plugins.register(hanging, name="slow")
    plugins.record(RECORD)
    hanging.let_go()

    assert "legion plugin slow: a call that was given up has ended" in caplog.text


def test_a_deadline_is_not_for_startup(plugins):
    """Starting is the host's own thread, and its exception the host's own."""
    threads = []
    timed = Plugin(
        timeout_s=WAIT_S, startup=lambda: threads.append(threading.current_thread())
    )
    plugins.register(timed)

    assert threads == [threading.current_thread()]


def test_a_hook_with_a_deadline_may_change_the_plugins(plugins):
    """No lock is held while a hook runs."""

    def leave():
        plugins.unregister("timed")

    plugins.register(Plugin(timeout_s=WAIT_S, record=leave), name="timed")
    plugins.record(RECORD)

    assert plugins.names() == ()


def test_a_hung_plugin_does_not_keep_the_process_alive():
    """The interpreter ends, whatever still hangs."""
    code = textwrap.dedent(
        """
        import threading, legion

        class Hung:
            timeout_s = 0.01

            @legion.hookimpl
            def legion_admit(self):
                threading.Event().wait()

        with legion.Plugins(Hung(), builtins=False) as plugins:
            print(plugins.admit("q", "a"))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "False\n"


# The trace.


def test_the_trace_has_one_line_for_each_call():
    """Hook, plugin, time, and what came of it, for isolated and other calls."""
    ticks = count()
    plugins = Plugins(
        builtins=False, timer=lambda: next(ticks) / 1000, quarantine_after=1
    )
    lines = []
    off = plugins.trace(lines.append)
    plugins.register(
        Plugin(
            startup=lambda: None,
            active=lambda: "d" * 500,
            review=failing,
            register_criteria=lambda: (),
        ),
        name="p",
    )
    plugins.active("t")
    plugins.review(None, None)
    plugins.review(None, None)
    off()
    plugins.active("t")

    assert [line.split()[:4] for line in lines] == [
        ["legion_startup", "p", "1.000", "ms"],
        ["legion_register_criteria", "p", "1.000", "ms"],
        ["legion_active", "p", "1.000", "ms"],
        ["legion_review", "p", "1.000", "ms"],
        ["legion_review", "p", "not", "called"],
    ]
    assert lines[3].endswith("ValueError: no")
    assert lines[4].endswith("in quarantine: failed once: ValueError: no")
    assert max(map(len, lines)) < 120


def test_a_newer_trace_is_not_turned_off_by_an_older_one(plugins):
    """Who turns off a trace turns off the own one."""
    plugins.register(Plugin(record=lambda: None))
    old, new = [], []
    off = plugins.trace(old.append)
    plugins.trace(new.append)
    off()
    plugins.record(RECORD)
    plugins.trace(None)
    plugins.record(RECORD)

    assert (len(old), len(new)) == (0, 1)


def test_a_trace_that_raises_is_turned_off(plugins, caplog):
    """Looking at a call does not break it."""
    seen = []
    plugins.register(Plugin(record=lambda: seen.append(1)))
    plugins.trace(lambda line: failing())
    plugins.record(RECORD)
    plugins.record(RECORD)

    assert seen == [1, 1]
    assert caplog.text.count("tracing is off") == 1


def test_a_value_that_cannot_be_shown_is_no_failure(plugins):
    """The trace says its type instead."""

    class Shy(str):
        __slots__ = ()

        def __repr__(self):
            raise RuntimeError

    lines = []
    plugins.register(Plugin(choose_stage=lambda: Shy("canary")))
    plugins.trace(lines.append)

    assert plugins.choose_stage("", "", REPORT)[0].value == "canary"
    assert lines[0].count("Shy") == 1


def test_every_swallowed_error_is_a_warning_with_its_traceback(plugins, caplog):
    """Nothing is lost in silence."""
    plugins.register(Plugin(record=failing), name="p")
    plugins.record(RECORD)

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("legion", logging.WARNING)
    assert "'p'" in record.getMessage()
    assert record.exc_info[0] is ValueError
