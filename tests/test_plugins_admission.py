"""Who may take part: a mistake is an error that says what to write, never silence."""

from __future__ import annotations

import functools

from types import ModuleType

import attrs
import pytest

from legion import Plugins, hookimpl
from legion.criteria import Ceiling, Criterion
from legion.exceptions import CriterionError, PluginError


class Recorder:
    @hookimpl
    def legion_record(self, record):
        pass


def plugin(**functions):
    """Make an object with these attributes, marked ones being hooks."""
    return type("Plugin", (), functions)()


@pytest.fixture
def plugins():
    return Plugins(builtins=False)


def refused(plugins, candidate, *words, error=PluginError, name=None):
    """Register, expect to be refused, and check that nothing has changed."""
    before = (plugins.names(), dict(plugins.criteria), set(plugins.timings()))
    with pytest.raises(error) as caught:
        plugins.register(candidate, name=name)

    assert (plugins.names(), dict(plugins.criteria), set(plugins.timings())) == before
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_a_misspelt_hook_is_refused_and_the_right_one_named(plugins):
    """A hook that would never be called is an error."""
    wrong = plugin(legion_recrod=hookimpl(lambda self, record: None))

    error = refused(plugins, wrong, "legion_recrod", "write legion_record")

    assert error.plugin == "Plugin"


def test_a_marked_function_without_the_prefix_is_refused(plugins):
    """The marker alone makes no hook."""
    refused(plugins, plugin(observe=hookimpl(lambda self: {})), "write legion_observe")


def test_a_misspelt_specname_is_refused(plugins):
    """The name in the marker counts, too."""
    marked = hookimpl(specname="legion_obsreve")(lambda self: {})
    refused(plugins, plugin(mine=marked), "write legion_observe")


def test_specname_gives_a_hook_another_name(plugins):
    """A hook may be called what the plugin likes."""
    marked = hookimpl(specname="legion_admit")(lambda self: False)
    plugins.register(plugin(mine=marked))

    assert not plugins.admit("q", "a")


def test_an_optional_hook_may_be_unknown(plugins):
    """A plugin for several versions says so and is let in."""
    later = hookimpl(optionalhook=True)(lambda self: None)

    assert plugins.register(plugin(legion_later=later)) == "Plugin"


@pytest.mark.parametrize(
    "attribute",
    [
        lambda self, record: None,
        functools.partial(print),
        property(lambda self: print),
        staticmethod(print),
    ],
    ids=["plain", "partial", "property", "static"],
)
def test_a_hook_without_a_marker_is_refused(plugins, attribute):
    """What looks like a hook and would be ignored is an error."""
    refused(plugins, plugin(legion_record=attribute), "@legion.hookimpl")


def test_a_wrapped_hook_is_called_or_refused(plugins):
    """Whether pluggy sees through a wrapper depends on its version; it says so."""
    seen = []
    hook = functools.lru_cache(hookimpl(lambda query: seen.append(query)))  # noqa: PLW0108
    candidate = Recorder()
    candidate.legion_admit = hook
    refusal = ""
    try:
        plugins.register(candidate)
    except PluginError as error:
        refusal = str(error)
    plugins.admit("q", "a")

    assert seen == ["q"] or "outermost" in refusal


def test_an_attribute_with_the_prefix_that_is_no_function_is_let_in(plugins):
    """Data may be called what it likes."""
    candidate = Recorder()
    candidate.legion_version = "4.1.0"

    assert plugins.register(candidate) == "Recorder"


def test_an_argument_that_the_spec_lacks_is_refused(plugins):
    """The nearest argument is named."""
    marked = hookimpl(lambda self, recrod: None)
    refused(plugins, plugin(legion_record=marked), "'recrod'", "write record")


def test_an_unknown_argument_with_a_default_is_refused(plugins):
    """It would always be the default."""
    marked = hookimpl(lambda self, reprot=None: None)
    refused(plugins, plugin(legion_review=marked), "'reprot'", "write report")


@pytest.mark.parametrize(
    "function", [lambda self, *args: None, lambda self, **given: None]
)
def test_open_arguments_are_refused(plugins, function):
    """They would stay empty."""
    refused(plugins, plugin(legion_record=hookimpl(function)), "record")


def test_arguments_may_have_defaults_and_be_keywords_only(plugins):
    """An implementation gets what it names, however it names it."""
    seen = []

    def legion_admit(self, value=None, *, query):
        seen.append((query, value))

    plugins.register(plugin(legion_admit=hookimpl(legion_admit)))
    plugins.admit("q", "a")

    assert seen == [("q", "a")]


@pytest.mark.parametrize("style", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize("hook", ["legion_record", "legion_activate", "legion_active"])
def test_wrappers_are_refused(plugins, style, hook):
    """They would be skipped, so they are an error in both styles."""

    def wrap(self):
        yield

    marked = hookimpl(**{style: True})(wrap)
    error = refused(plugins, plugin(**{hook: marked}), "wrapper", "plain")

    assert error.hook == hook


def test_asynchronous_hooks_are_refused(plugins):
    """A coroutine that nobody awaits does nothing."""

    async def legion_record(self, record):
        pass

    refused(plugins, plugin(legion_record=hookimpl(legion_record)), "plain def")


def test_a_generator_is_refused_where_nobody_would_run_it(plugins):
    """A recorder that yields would not record."""

    def legion_record(self, record):
        yield

    refused(plugins, plugin(legion_record=hookimpl(legion_record)), "return, not yield")


def test_a_class_instead_of_an_object_is_refused(plugins):
    """Its methods would lack their object."""
    refused(plugins, Recorder, "write an instance: Recorder(...)")


def test_a_class_with_static_hooks_is_a_plugin(plugins):
    """It lacks nothing."""
    hook = staticmethod(hookimpl(lambda: False))
    plugins.register(type("Static", (), {"legion_admit": hook}))

    assert not plugins.admit("q", "a")


def test_a_hook_may_be_a_value_of_the_object(plugins):
    """In a slot, or over a method of the class that is not marked."""

    class Slotted:
        __slots__ = ("empty", "legion_record")

    class Hidden:
        def legion_record(self, record):
            raise AssertionError

    heard = []

    @hookimpl
    def record(record):
        heard.append(record)

    for kind in (Slotted, Hidden):
        one = kind()
        one.legion_record = record
        name = plugins.register(one)
        plugins.record("said")
        plugins.unregister(name)

    assert heard == ["said", "said"]


def test_a_module_is_a_plugin(plugins):
    """It is called by its own name."""
    module = ModuleType("house_rules")
    module.legion_admit = hookimpl(lambda: False)

    assert plugins.register(module) == "house_rules"
    assert not plugins.admit("q", "a")


@pytest.mark.parametrize("thing", [None, "recorder", 3, object(), print, lambda: None])
def test_what_has_no_hook_is_refused(plugins, thing):
    """It would take part and do nothing."""
    refused(plugins, thing, "has no hook", "@legion.hookimpl")


def test_one_hook_twice_in_one_plugin_is_refused(plugins):
    """A plugin has one answer."""
    twice = plugin(
        legion_admit=hookimpl(lambda self: True),
        other=hookimpl(specname="legion_admit")(lambda self: False),
    )
    refused(plugins, twice, "second time")


class Limits:
    warning = 0.1


class Judge:
    def judge(self, window, memory):
        pass


class JudgingRecorder(Recorder, Judge):
    pass


class LimitedRecorder(Recorder):
    critical = 5


@attrs.define(eq=False)
class Slots(Recorder):
    alert: float = 0.5


def toxicity(window):
    return window.share("toxic")


@pytest.mark.parametrize(
    "half",
    [
        Limits,
        Limits(),
        Judge(),
        JudgingRecorder(),
        LimitedRecorder(),
        Slots(),
        toxicity,
    ],
    ids=lambda half: getattr(half, "__name__", type(half).__name__),
)
def test_half_a_criterion_is_refused(plugins, half):
    """It would never be judged; all three ways to write one are named."""
    refused(
        plugins,
        half,
        "legion.criteria.Ceiling",
        "@legion.criterion",
        "subclass legion.Criterion",
        error=CriterionError,
    )


def test_a_function_with_limits_is_half_a_criterion(plugins):
    """Attributes do not make one."""

    def errors(w):
        return 0

    errors.critical = 0.05
    refused(plugins, errors, "critical", error=CriterionError)


def test_a_reviewer_may_have_a_judge_of_its_own(plugins):
    """Only what takes a window was meant as a criterion."""

    class Reviewer:
        def judge(self, text):
            return text

        @hookimpl
        def legion_review(self, change):
            return None

    assert plugins.register(Reviewer()) == "Reviewer"


def test_a_logger_like_plugin_is_no_criterion(plugins):
    """Methods called warning and critical are no limits."""

    class Logger(Recorder):
        def warning(self, text):
            pass

        critical = warning

    assert plugins.register(Logger()) == "Logger"


def test_a_class_of_criteria_is_refused(plugins):
    """The instance has the name and the limits."""
    refused(plugins, Ceiling, "write an instance: Ceiling(...)", error=CriterionError)


def test_a_criterion_that_measures_nothing_is_refused(plugins):
    """The contract alone has no figure."""
    refused(plugins, Criterion("empty", critical=1), "measure", error=CriterionError)


def short(self, window):
    return None


async def later(self, window):
    return None


@pytest.mark.parametrize(
    ("method", "function", "write"),
    [
        ("judge", short, "judge takes (window); write judge(self, window, memory)"),
        (
            "judge",
            lambda self: None,
            "judge takes (); write judge(self, window, memory)",
        ),
        ("judge", lambda self, a, b, c: None, "write judge(self, window, memory)"),
        ("measure", lambda self: None, "measure takes (); write measure(self, window)"),
        ("measure", later, "measure is async; write a plain def"),
    ],
)
def test_a_criterion_that_could_not_be_called_is_refused(
    plugins, method, function, write
):
    """At registration, and not in the first window; also from who supplies several."""
    kind = type("Odd", (Criterion,), {"measure": short, method: function})
    odd = kind("odd", alert=0.5)
    refused(plugins, odd, write, error=CriterionError)

    supplier = plugin(legion_register_criteria=hookimpl(lambda self: [odd]))
    refused(plugins, supplier, "criterion 'odd'", write, error=CriterionError)


def test_a_criterion_may_take_more_than_it_is_given(plugins):
    """Arguments with defaults are its own affair."""
    kind = type("Wide", (Criterion,), {"measure": lambda self, window, k=1, *a: None})

    assert plugins.register(kind("wide", alert=0.5)) == "wide"


def test_a_name_that_is_blocked_before_it_comes_is_listed(plugins, caplog):
    """It may come later; only where something is nearly called so, a warning says so."""
    plugins.register(Ceiling("error_rate", alert=0.5))
    plugins.block("error_ratee")
    assert "error_ratee" in plugins.blocked
    assert "if 'error_rate' was meant, write that" in caplog.text
    assert "error_rate" in plugins.criteria

    caplog.clear()
    plugins.block("error_rate")
    plugins.block("something_else")
    assert caplog.text == ""
    plugins.register(Ceiling("error_ratee", alert=0.5))
    assert set(plugins.criteria) == set()


@pytest.mark.parametrize("answer", [[Ceiling], ["cpu"], "cpu", 3, {"cpu": 1}])
def test_what_supplies_no_criteria_is_refused(plugins, answer):
    """Only instances count."""
    supplier = plugin(legion_register_criteria=hookimpl(lambda self: answer))
    refused(plugins, supplier, "instances of legion.Criterion", error=CriterionError)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_deadline_that_is_no_time_is_refused(plugins, seconds):
    """The deadline is seconds above 0."""
    candidate = Recorder()
    candidate.timeout_s = seconds
    refused(plugins, candidate, "timeout_s", "seconds above 0")


def test_the_same_object_twice_is_refused(plugins):
    """It is registered once."""
    recorder = Recorder()
    plugins.register(recorder, name="first")
    refused(plugins, recorder, "'first'", name="second")


def test_equal_objects_are_refused_with_the_cure(plugins):
    """pluggy tells plugins apart by equality."""

    @attrs.define
    class Equal(Recorder):
        n: int = 1

    plugins.register(Equal())
    refused(plugins, Equal(), "eq=False")


def test_names_are_the_plugins_own_and_numbered(plugins):
    """Two channels of one class can be told apart."""
    names = [plugins.register(Recorder()) for _ in range(3)]

    assert names == ["Recorder", "Recorder-2", "Recorder-3"] == list(plugins.names())


def test_a_given_name_that_is_taken_is_refused(plugins):
    """What somebody asks for is not changed."""
    plugins.register(Recorder(), name="audit")
    refused(plugins, Recorder(), "'audit'", "taken", name="audit")
    refused(plugins, Recorder(), "name", name="")


def test_a_second_criterion_of_one_name_names_both_plugins(plugins):
    """Which of them counts is for a person to say."""
    plugins.register(Ceiling("toxicity", of="share", critical=0.05), name="ours")
    rival = Ceiling("toxicity", of="share", critical=0.5)
    refused(plugins, rival, "'ours'", "'theirs'", error=CriterionError, name="theirs")


def test_a_criterion_of_a_built_in_name_is_a_criterion_error():
    """The message says how to replace the built-in one."""
    with Plugins() as plugins:
        mine = Ceiling("cpu_usage", of="gauge", critical=0.5)
        refused(plugins, mine, "unregister('cpu_usage')", error=CriterionError)

        plugins.unregister("cpu_usage")
        plugins.register(mine)

        assert plugins.criteria["cpu_usage"] is mine


def test_one_plugin_with_one_criterion_twice_is_refused(plugins):
    """Within one plugin a name counts once, too."""
    twice = [Ceiling("a", of="share", critical=0.5) for _ in range(2)]
    supplier = plugin(legion_register_criteria=hookimpl(lambda self: twice))
    refused(plugins, supplier, "'a'", error=CriterionError)
