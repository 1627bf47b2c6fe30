"""Who takes part, the criteria that follow from it, and each hook once."""

from __future__ import annotations

import importlib
import logging
import math
import threading

import numpy as np
import pytest

from legion import (
    Action,
    Arm,
    Change,
    Count,
    Notice,
    Permission,
    Plugins,
    Record,
    Report,
    Ruling,
    hookimpl,
)
from legion.criteria import BUILTINS, Ceiling
from legion.exceptions import CriterionError, PluginError
from legion.plugins import Answer


REPORT = Report()
RECORD = Record(id="1", seq=0, kind="note", at=0.0, body={})
CHANGE = Change(target="t", before="a", after="b", kind="patch")


class Plugin:
    """An object whose attributes are hooks, written without self."""

    def __init__(self, **hooks):
        for name, function in hooks.items():
            setattr(self, f"legion_{name}", hookimpl(function))


def raising():
    msg = "broken\nin two lines"
    raise RuntimeError(msg)


def ceiling(name):
    return Ceiling(name, of="share", critical=0.5)


def notice(n, kind="incident"):
    return Notice(kind=kind, id=str(n), title="t", reason="r")


@pytest.fixture
def plugins():
    return Plugins(builtins=False)


# Coming and going.


def test_the_built_in_plugins_are_the_21_criteria():
    """A host begins with all of them, sorted by name."""
    with Plugins() as plugins:
        names = list(plugins.criteria)

    assert len(names) == 21
    assert names == sorted(names)
    assert set(names) == set(plugins.names())


def test_the_builtin_plugins_are_as_if_each_had_been_registered():
    """Their criteria are collected once for all; names, criteria and calls are theirs."""
    at_once, one_by_one = Plugins(), Plugins(*BUILTINS, builtins=False)

    assert at_once.names() == one_by_one.names()
    assert at_once.criteria == one_by_one.criteria
    at_once.unregister("error_rate")
    assert "error_rate" not in at_once.criteria
    with pytest.raises(CriterionError, match="'latency_p95' is supplied by"):
        at_once.register(Ceiling("latency_p95", of="p95", warning=1.0))


def test_a_failed_registration_leaves_everything_as_it_was(plugins):
    """What startup refuses never took part."""
    seen = []
    broken = Plugin(
        startup=raising,
        record=lambda: seen.append("record"),
        shutdown=lambda: seen.append("shutdown"),
        register_criteria=lambda: [ceiling("a")],
    )
    plugins.register(Plugin(admit=lambda: True), name="sound")

    with pytest.raises(PluginError, match="RuntimeError: broken in two lines") as info:
        plugins.register(broken, name="broken")
    plugins.record(RECORD)

    assert (info.value.plugin, info.value.hook) == ("broken", "legion_startup")
    assert plugins.names() == ("sound",)
    assert plugins.criteria == {}
    assert seen == []


def test_a_plugin_whose_criteria_are_refused_is_shut_down_again(plugins):
    """What was started is told that it is over."""
    seen = []
    plugins.register(ceiling("a"))
    rival = Plugin(
        startup=lambda: seen.append("startup"),
        shutdown=lambda: seen.append("shutdown"),
        register_criteria=lambda: [ceiling("a")],
    )

    with pytest.raises(CriterionError):
        plugins.register(rival)

    assert seen == ["startup", "shutdown"]
    assert plugins.names() == ("a",)


def test_a_constructor_that_fails_shuts_down_what_it_started():
    """Nobody is left running without an owner."""
    seen = []
    first = Plugin(shutdown=lambda: seen.append("first"))

    with pytest.raises(PluginError):
        Plugins(first, Plugin(startup=raising), builtins=False)

    assert seen == ["first"]


def test_unregistering_takes_out_every_hook_and_criterion(plugins):
    """By object and by name; who was started is told to shut down."""
    seen = []
    one = Plugin(
        shutdown=lambda: seen.append("bye"), register_criteria=lambda: [ceiling("a")]
    )
    plugins.register(one)
    plugins.register(ceiling("b"))

    plugins.unregister(one)
    plugins.unregister("b")

    assert plugins.names() == ()
    assert plugins.criteria == {}
    assert seen == ["bye"]


def test_unregistering_a_stranger_names_the_nearest(plugins):
    """A typing mistake is answered with the right name."""
    plugins.register(ceiling("toxicity"))

    with pytest.raises(PluginError, match="write toxicity"):
        plugins.unregister("toxcity")
    with pytest.raises(PluginError, match="not registered"):
        plugins.unregister(object())
    with pytest.raises(PluginError, match="write toxicity"):
        plugins.release("toxicty")


def test_a_blocked_plugin_is_shut_down_and_not_called_until_it_is_let_in(plugins):
    """Blocking and unblocking are two ends of one thing."""
    seen = []
    one = Plugin(
        startup=lambda: seen.append("startup"),
        shutdown=lambda: seen.append("shutdown"),
        record=lambda: seen.append("record"),
        register_criteria=lambda: [ceiling("a")],
    )
    plugins.register(one, name="one")

    plugins.block("one")
    plugins.record(RECORD)

    assert seen == ["startup", "shutdown"]
    assert (plugins.names(), dict(plugins.criteria)) == ((), {})
    assert plugins.blocked == {"one"}

    plugins.unblock("one")
    plugins.record(RECORD)

    assert seen == ["startup", "shutdown", "startup", "record"]
    assert (plugins.names(), list(plugins.criteria)) == (("one",), ["a"])
    assert plugins.blocked == set()


def test_a_name_may_be_blocked_before_it_is_there(plugins):
    """A blocked plugin that comes later is not even started."""
    seen = []
    plugins.block("late")
    plugins.block("nobody")
    plugins.register(Plugin(startup=lambda: seen.append(1)), name="late")
    plugins.unblock("never-blocked")

    assert (seen, plugins.names()) == ([], ())
    assert plugins.blocked == {"late", "nobody"}


def test_a_blocked_criterion_of_a_plugin_with_several_leaves_the_others(plugins):
    """A criterion's name blocks it whoever supplies it."""
    both = [ceiling("b"), ceiling("a")]
    plugins.register(Plugin(register_criteria=lambda: both), name="p")

    plugins.block("a")

    assert (list(plugins.criteria), plugins.names()) == (["b"], ("p",))

    plugins.unblock("a")

    assert list(plugins.criteria) == ["a", "b"]


def test_a_plugin_that_cannot_start_stays_blocked(plugins):
    """Letting it in fails as registering it would."""
    plugins.block("p")
    plugins.register(Plugin(startup=raising), name="p")

    with pytest.raises(PluginError):
        plugins.unblock("p")

    assert (plugins.blocked, plugins.names()) == ({"p"}, ())


def test_unblocking_into_a_taken_criterion_is_refused(plugins):
    """The clash is found when it comes about."""
    plugins.register(Plugin(register_criteria=lambda: [ceiling("a")]), name="p")
    plugins.block("p")
    plugins.register(Plugin(register_criteria=lambda: [ceiling("a")]), name="q")

    with pytest.raises(CriterionError, match="'q'"):
        plugins.unblock("p")

    assert (plugins.blocked, plugins.names()) == ({"p"}, ("q",))


def test_an_old_plugin_that_fails_keeps_its_criteria_and_stops_nobody(plugins, caplog):
    """A fault in one plugin neither hides a criterion nor bars another plugin."""
    answers = [[ceiling("a")]]
    plugins.register(
        Plugin(register_criteria=lambda: answers.pop() if answers else 1 / 0), name="p"
    )

    plugins.register(ceiling("b"))
    plugins.unregister("b")

    assert list(plugins.criteria) == ["a"]
    assert "plugin 'p'" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_plugin_may_register_others_when_it_starts(plugins):
    """A bundle brings its parts, and each is there when the bundle is."""
    seen = []

    def bring(plugins):
        plugins.register(ceiling("part"))
        seen.append(plugins.names())

    plugins.register(Plugin(startup=bring), name="bundle")

    assert seen == [("part",)]
    assert plugins.names() == ("bundle", "part")
    assert list(plugins.criteria) == ["part"]


def test_a_plugin_that_leaves_while_it_starts_is_refused(plugins):
    """Half a registration does not stay."""
    leaver = Plugin(startup=lambda plugins: plugins.unregister("leaver"))

    with pytest.raises(PluginError, match="as it started"):
        plugins.register(leaver, name="leaver")

    assert plugins.names() == ()
    assert plugins.register(ceiling("leaver")) == "leaver"


def test_plugins_may_not_change_while_criteria_are_collected(plugins):
    """The question has no side effects on who is asked."""
    meddler = Plugin(register_criteria=lambda: plugins.register(ceiling("x")))

    with pytest.raises(PluginError, match="do it in legion_startup"):
        plugins.register(meddler)

    assert plugins.names() == ()


def test_a_plugin_may_register_another_inside_a_hook(plugins):
    """The running call is not disturbed; the next one includes it."""
    seen = []
    late = Plugin(record=lambda: seen.append("late"))

    def bring():
        if "late" not in plugins.names():
            plugins.register(late, name="late")
        seen.append("first")

    plugins.register(Plugin(record=bring), name="first")
    plugins.record(RECORD)
    plugins.record(RECORD)

    assert seen == ["first", "late", "first"]


def test_a_plugin_may_leave_inside_a_hook(plugins):
    """It is not called again."""
    seen = []

    def leave():
        seen.append(1)
        plugins.unregister("once")

    plugins.register(Plugin(record=leave), name="once")
    plugins.record(RECORD)
    plugins.record(RECORD)

    assert seen == [1]


def test_calls_see_all_of_a_change_or_none(plugins):
    """A plugin's hooks and criteria come and go together, whoever looks meanwhile."""
    stop, torn = threading.Event(), []
    steady = Plugin(admit=lambda: True)
    plugins.register(steady, name="steady")
    guest = Plugin(
        observe=lambda: {"guest": 1.0}, register_criteria=lambda: [ceiling("guest")]
    )

    def look():
        while not stop.is_set():
            table = plugins._roster.table
            here = "guest" in table.names
            called = any(
                seat.plugin == "guest" for seat in table.seats["legion_observe"]
            )
            if not here == called == ("guest" in table.criteria):
                torn.append(table)
            plugins.observe("p", Arm.CONTROL)
            if not plugins.admit("q", "a"):
                torn.append("admit")

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    for _ in range(200):
        plugins.register(guest, name="guest")
        plugins.block("guest")
        plugins.unblock("guest")
        plugins.unregister("guest")
    stop.set()
    for looker in lookers:
        looker.join()

    assert torn == []
    assert plugins.names() == ("steady",)


def test_many_threads_may_register(plugins):
    """None is lost and none comes twice."""

    def bring(start):
        for n in range(start, start + 25):
            plugins.register(ceiling(f"c{n}"))

    threads = [threading.Thread(target=bring, args=(n,)) for n in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(plugins.criteria) == {f"c{n}" for n in range(100)}


# Entry points.


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages that offer plugins, by name: module source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(**sources):
        for name, source in sources.items():
            (tmp_path / f"offer_{name}.py").write_text(source)
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            (info / "entry_points.txt").write_text(f"[legion]\n{name} = offer_{name}\n")
        importlib.invalidate_caches()

    return install


SOUND = "import legion\n@legion.hookimpl\ndef legion_admit():\n    return False\n"


def test_packages_are_loaded_only_on_request(plugins, installed):
    """An installed package changes nothing until the host asks."""
    installed(sound=SOUND)

    assert plugins.admit("q", "a")
    assert plugins.load() == ("sound",)
    assert not plugins.admit("q", "a")
    assert plugins.load() == ()
    assert plugins.names() == ("sound",)


def test_a_broken_package_is_named_and_none_is_loaded(plugins, installed):
    """The host learns which one; what loaded before it is taken back."""
    installed(alpha=SOUND, broken="import nowhere_to_be_found")

    with pytest.raises(PluginError, match=r"'broken'.*offer_broken.*nowhere") as info:
        plugins.load()

    assert info.value.plugin == "broken"
    assert plugins.names() == ()


def test_a_package_that_is_refused_takes_back_the_others(plugins, installed):
    """All of them or none."""
    installed(alpha=SOUND, beta="def legion_record(record): pass\n")

    with pytest.raises(PluginError, match="'beta'"):
        plugins.load()

    assert plugins.names() == ()


def test_a_blocked_package_is_not_imported(plugins, installed):
    """Blocking a broken package is the way around it."""
    installed(alpha=SOUND, broken="raise SystemExit")
    plugins.block("broken")

    assert plugins.load() == ("alpha",)


# Each hook once.


def test_hook_startup(plugins):
    """Everybody hears of the host once, and again only after a shutdown."""
    seen = []
    early = Plugin(startup=lambda plugins: seen.append(("early", plugins)))
    late = Plugin(startup=lambda plugins: seen.append(("late", plugins)))
    given = Plugins(early, builtins=False)
    given.register(late)
    given.startup()

    assert seen == [("early", given), ("late", given)]

    given.shutdown()
    given.startup()

    assert [name for name, _ in seen] == ["early", "late", "early", "late"]


def test_a_plugin_that_cannot_start_again_is_taken_out(plugins):
    """After a shutdown, starting is as at registration."""
    starts = []

    def once():
        starts.append(1)
        if len(starts) > 1:
            raising()

    plugins.register(Plugin(startup=once, admit=lambda: False), name="once")
    plugins.shutdown()

    with pytest.raises(PluginError, match="'once'"):
        plugins.startup()

    assert plugins.names() == ()
    assert plugins.admit("q", "a")


def test_hook_shutdown(plugins, caplog):
    """Last in, first out, once; one that raises does not keep it from the others."""
    seen = []
    with plugins:
        plugins.register(Plugin(shutdown=lambda: seen.append("first")))
        plugins.register(Plugin(shutdown=raising), name="broken")
        plugins.register(Plugin(shutdown=lambda: seen.append("last")))
    plugins.shutdown()

    assert seen == ["last", "first"]
    assert "plugin 'broken', hook legion_shutdown" in caplog.text


def test_hook_register_criteria(plugins):
    """Criteria are collected by name and asked for whenever plugins change."""
    supplied = [ceiling("b")]
    plugins.register(Plugin(register_criteria=lambda: iter(supplied)))
    plugins.register(Plugin(register_criteria=lambda: None), name="silent")
    before = plugins.criteria
    supplied.append(ceiling("a"))

    assert plugins.criteria is before
    assert list(before) == ["b"]

    plugins.unregister("silent")

    assert list(plugins.criteria) == ["a", "b"]
    with pytest.raises(TypeError):
        plugins.criteria["c"] = ceiling("c")


def test_hook_observe(plugins):
    """Answers are merged; a failed source is missing and says why."""
    plugins.register(Plugin(observe=lambda plan: {"n": Count(1, 10), plan: 2}))
    plugins.register(Plugin(observe=lambda arm: {arm.value: np.float32(0.5)}))
    plugins.register(Plugin(observe=lambda: None))
    plugins.register(Plugin(observe=raising), name="broken")

    observed = plugins.observe("demo", Arm.CANDIDATE)

    assert observed.metrics == {"n": Count(1, 10), "demo": 2.0, "candidate": 0.5}
    assert type(observed.metrics["demo"]) is float
    assert observed.errors == {"broken": "RuntimeError: broken in two lines"}


def test_a_metric_from_two_sources_is_dropped_and_both_are_named(plugins):
    """Neither is believed, and nothing else is lost."""
    plugins.register(Plugin(observe=lambda: {"n": 1.0, "own": 1.0}), name="one")
    for name in ("two", "three"):
        plugins.register(Plugin(observe=lambda: {"n": 1.0}), name=name)

    observed = plugins.observe("", Arm.CONTROL)

    assert observed.metrics == {"own": 1.0}
    assert all(name in observed.errors["n"] for name in ("'one'", "'two'", "'three'"))


@pytest.mark.parametrize(
    "measured",
    [
        {"n": math.nan},
        {"n": math.inf},
        {"n": True},
        {"n": "1"},
        {"n": None},
        {"n": 10**400},
        {"n": Count(-1)},
        {"n": Count(1.5, 2)},
        {"n": Count(1, True)},
        {"n": Count(0, -3)},
        {1: 1.0},
        [("n", 1.0)],
        3.0,
    ],
    ids=repr,
)
def test_nonsense_is_an_error_of_its_source(plugins, measured):
    """A figure that is none is never a measurement."""
    plugins.register(Plugin(observe=lambda: measured), name="odd")

    observed = plugins.observe("", Arm.CONTROL)

    assert observed.metrics == {}
    assert set(observed.errors) == {"odd"}


def test_hook_choose_stage(plugins):
    """Every answer is returned with its plugin; no opinion is left out."""
    plugins.register(Plugin(choose_stage=lambda plan, stage: f"{plan}/{stage}"))
    plugins.register(Plugin(choose_stage=lambda report: None), name="silent")
    plugins.register(Plugin(choose_stage=lambda report: ""), name="none")
    plugins.register(Plugin(choose_stage=lambda: 5), name="wrong")

    answers = plugins.choose_stage("demo", "canary", REPORT)

    assert answers == (
        Answer(plugin="wrong", error="returned 5; write the name of a stage, or None"),
        Answer(plugin="none", value=""),
        Answer(plugin="Plugin", value="demo/canary"),
    )


def test_hook_propose(plugins):
    """Proposals are sorted by risk, kind and target; a broken proposer is skipped."""

    def change(risk, kind, target):
        return Change(target=target, before="", after="b", kind=kind, risk=risk)

    wanted = [
        change(0.1, "patch", "b"),
        change(0.1, "setting", "a"),
        change(0.1, "setting", "c"),
        change(0.9, "patch", "a"),
    ]

    def half():
        yield wanted[0]
        raising()

    class Generator:
        @hookimpl
        def legion_propose(self, report, history):
            assert history == (RECORD,)
            yield wanted[3]
            yield wanted[1]

    plugins.register(Generator())
    plugins.register(Plugin(propose=lambda: [wanted[2], wanted[0]]))
    plugins.register(Plugin(propose=half), name="half")
    plugins.register(Plugin(propose=lambda: [wanted[0], "x"]), name="wrong")
    plugins.register(Plugin(propose=lambda: None), name="silent")

    assert list(plugins.propose(REPORT, [RECORD])) == wanted


def test_hook_review(plugins):
    """Every ruling is returned; whoever fails has an error, which the gate denies."""
    deny = Ruling(permission=Permission.DENY, code="no", reason="not today")
    seen = []
    plugins.register(Plugin(review=lambda change, report: seen.append(change)))
    plugins.register(Plugin(review=lambda change: deny), name="strict")
    plugins.register(Plugin(review=lambda: True), name="wrong")
    plugins.register(Plugin(review=raising), name="broken")
    action = Action(kind="tool", name="send")

    answers = plugins.review(action, None)

    assert answers == (
        Answer(plugin="broken", error="RuntimeError: broken in two lines"),
        Answer(plugin="wrong", error="returned True; write a legion.Ruling, or None"),
        Answer(plugin="strict", value=deny),
    )
    assert plugins.review(CHANGE, REPORT)[2].value is deny
    assert seen == [action, CHANGE]


def test_hook_activate(plugins):
    """The first owner answers, False included; an exception means doubt."""
    asked = []

    def owns(target, answer):
        own = target

        def activate(target, digest):
            asked.append((own, digest))
            return answer if target == own else None

        return Plugin(activate=activate)

    plugins.register(owns("a", answer=True))
    plugins.register(owns("b", answer=False))

    assert plugins.activate("a", "d1") is True
    assert asked == [("b", "d1"), ("a", "d1")]
    assert plugins.activate("b", "d2") is False
    assert asked[2:] == [("b", "d2")]
    assert plugins.activate("c", "d3") is None

    plugins.register(Plugin(activate=lambda: 1), name="wrong")
    with pytest.raises(PluginError, match="returned 1; write True or False"):
        plugins.activate("a", "d")
    plugins.unregister("wrong")
    plugins.register(Plugin(activate=raising), name="broken")
    with pytest.raises(PluginError, match="broken in two lines") as info:
        plugins.activate("a", "d")

    assert (info.value.plugin, info.value.hook) == ("broken", "legion_activate")
    assert isinstance(info.value.__cause__, RuntimeError)


def test_hook_active(plugins):
    """The first owner's digest counts, "" included; an exception means doubt."""
    live = {"a": "d", "b": ""}
    plugins.register(Plugin(active=lambda target: live.get(target)))  # noqa: PLW0108 - a hook needs a function

    assert plugins.active("a") == "d"
    assert plugins.active("b") == ""
    assert plugins.active("c") is None

    plugins.register(Plugin(active=lambda: b"d"), name="wrong")
    with pytest.raises(PluginError, match="write a digest"):
        plugins.active("a")


def test_hook_record(plugins, caplog):
    """A broken recorder is logged and silences nobody, and answers mean nothing."""
    seen = []
    plugins.register(Plugin(record=lambda record: seen.append(record) or 1))
    plugins.register(Plugin(record=raising), name="broken")
    plugins.register(Plugin(record=lambda record: seen.append(record) or 2))

    plugins.record(RECORD)

    assert seen == [RECORD, RECORD]
    assert "plugin 'broken', hook legion_record: RuntimeError" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert caplog.records[0].exc_info is not None


class Channel:
    def __init__(self):
        self.told, self.down = [], False

    @hookimpl
    def legion_notify(self, notice):
        if self.down:
            raise ConnectionError
        self.told.append(notice)


def test_hook_notify():
    """A channel that failed is offered its notices again, in order and once."""
    broken, sound = Channel(), Channel()
    plugins = Plugins(broken, sound, builtins=False, quarantine_after=1000)
    broken.down = True
    for n in (1, 2, 2):
        plugins.notify(notice(n))
    assert plugins.retry_notices() == 0
    broken.down = False
    plugins.notify(notice(3))

    assert plugins.retry_notices() == 2
    assert plugins.retry_notices() == 0
    assert [n.id for n in broken.told] == ["3", "1", "2"]
    assert [n.id for n in sound.told] == ["1", "2", "2", "3"]


def test_a_resolve_never_overtakes_its_incident():
    """Who hears of both hears of the incident first."""
    channel = Channel()
    plugins = Plugins(channel, builtins=False)
    channel.down = True
    plugins.notify(notice(1))
    channel.down = False
    plugins.notify(notice(1, "resolved"))
    assert channel.told == []

    assert plugins.retry_notices() == 2
    assert [n.kind for n in channel.told] == ["incident", "resolved"]


def test_a_channel_keeps_at_most_100_notices(caplog):
    """The oldest is dropped, and that is logged."""
    channel = Channel()
    plugins = Plugins(channel, builtins=False)
    channel.down = True
    for n in range(103):
        plugins.notify(notice(n))
    channel.down = False
    plugins.release("Channel")

    assert plugins.retry_notices() == 100
    assert [n.id for n in channel.told] == [str(n) for n in range(3, 103)]
    assert "the oldest, '2', is dropped" in caplog.text


def test_a_notice_is_retried_by_one_thread_at_a_time():
    """A slow channel is not told twice by two turns that overlap."""
    told, inside, go_on = [], threading.Event(), threading.Event()
    down = [True]

    def slow(notice):
        if down[0]:
            raise ConnectionError
        told.append(notice)
        inside.set()
        go_on.wait(10)

    plugins = Plugins(Plugin(notify=slow), builtins=False)
    plugins.notify(notice(1))
    down[0] = False
    first = threading.Thread(target=plugins.retry_notices)
    first.start()
    assert inside.wait(10)

    assert plugins.retry_notices() == 0
    go_on.set()
    first.join()
    assert told == [notice(1)]


def test_a_channel_that_is_gone_keeps_nothing():
    """Who takes its name later does not inherit its notices."""
    channel = Channel()
    plugins = Plugins(channel, builtins=False)
    channel.down = True
    plugins.notify(notice(1))
    plugins.unregister(channel)
    channel.down = False
    plugins.register(channel)

    assert plugins.retry_notices() == 0


def test_hook_admit(plugins):
    """Any False keeps an answer out, and so does any failure."""
    assert plugins.admit("q", "a")
    plugins.register(Plugin(admit=lambda query: None))
    plugins.register(Plugin(admit=lambda value: value != "secret"))

    assert plugins.admit("q", "a")
    assert not plugins.admit("q", "secret")
    for answer in (raising, lambda: 1):
        plugins.register(Plugin(admit=answer), name="broken")
        assert not plugins.admit("q", "a")
        plugins.unregister("broken")


def test_the_order_of_calls_is_golden(plugins):
    """Last registered first, but tryfirst before all and trylast after all."""
    seen = []

    def recorder(name, **options):
        def legion_record(self, record):
            seen.append(name)

        return type(name, (), {"legion_record": hookimpl(**options)(legion_record)})()

    for name, options in {
        "first": {},
        "last_1": {"trylast": True},
        "early_1": {"tryfirst": True},
        "second": {},
        "early_2": {"tryfirst": True},
        "last_2": {"trylast": True},
        "third": {},
    }.items():
        plugins.register(recorder(name, **options))

    plugins.record(RECORD)

    assert seen == [
        "early_2",
        "early_1",
        "third",
        "second",
        "first",
        "last_1",
        "last_2",
    ]
