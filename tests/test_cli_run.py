"""``legion run``: somebody's application, and all that can be wrong with its name."""

from __future__ import annotations

import sys

import pytest

from cli_session import PLAN, YAML, documented, legion_says, open_host, refusal

import legion


APP = """
import asyncio

ran = []

def make(host):
    def app():
        host.tick()
        ran.append(host.engine.run_sync("1", control=str, candidate=str, args=(7,)))
    return app

async def answer(number):
    await asyncio.sleep(0)
    return str(number)

def make_async(host):
    async def app():
        arms = {"control": answer, "candidate": answer}
        ran.append(await host.engine.run("1", **arms, args=(8,)))
    return app

class App:
    async def __call__(self):
        ran.append("called")

def make_object(host):
    return App()

def make_rollback(host):
    return lambda: host.engine.rollback("drill")

def make_crash(host):
    def app():
        host.tick()
        raise RuntimeError("out of tasks")
    return app

def make_interrupted(host):
    def app():
        host.tick()
        raise KeyboardInterrupt
    return app

def raising(host):
    raise ValueError("no database")

def nothing(host):
    return None

async def coroutine(host):
    return print

def without_a_host():
    return print

number = 7
"""


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Type ``legion run`` in a folder that has a plan and an application."""
    (tmp_path / "plan.yaml").write_text(YAML)
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "broken.py").write_text("def make(host:\n")
    (tmp_path / "failing.py").write_text("import json\njson.loads('{')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in ("shop", "broken", "failing"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def run(app, *more, plan="plan.yaml"):
        return legion_says("run", plan, "--app", app, *more)

    yield run
    for name in ("shop", "broken", "failing"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("app", "ran"),
    [("shop:make", "7"), ("shop:make_async", "8"), ("shop:make_object", "called")],
)
def test_an_application_runs_while_the_wheel_turns(typed, app, ran):
    """Plain, async, or an object that is called; then it says how things stand."""
    said = typed(app)

    assert said.code == 0, said
    assert said.out.startswith("greeting: ")
    assert sys.modules["shop"].ran == [ran]


def test_run_has_the_same_for_programs(typed):
    """And the state is where --state says, and goes on from there."""
    said = typed("shop:make", "--json", "--state", "elsewhere")

    assert said.code == 0, said
    assert said.document["status"] == "running"
    assert set(said.document) == documented("run")
    assert legion_says("status", "--state", "elsewhere").code == 0


def test_a_rollout_that_went_back_is_a_no(typed):
    """Exit code 1, whatever the application says of itself."""
    said = typed("shop:make_rollback")

    assert said.code == 1
    assert "rolled_back" in said.out


def test_an_application_that_crashes_is_a_no_with_its_traceback(typed, tmp_path):
    """It is theirs to read; the rollout is whole and can go on."""
    said = typed("shop:make_crash")

    assert said.code == 1
    assert "RuntimeError: out of tasks" in said.err
    assert "shop.py" in said.err
    assert "greeting: running in canary" in said.out
    assert legion_says("status").code == 0


def test_an_interrupted_rollout_goes_on_where_it_was(typed):
    """Ctrl-C is no crash: one word, code 130, and what is written down stays."""
    said = typed("shop:make_interrupted")

    assert (said.code, said.out, said.err) == (130, "", "interrupted\n")
    assert "running in canary" in legion_says("status").out
    assert typed("shop:make").code == 0


@pytest.mark.parametrize(
    ("app", "why"),
    [
        ("shop", "is not MODULE:FACTORY"),
        ("shop:", "is not MODULE:FACTORY"),
        (":make", "is not MODULE:FACTORY"),
        ("", "is not MODULE:FACTORY"),
        ("nowhere:make", "No module named 'nowhere'"),
        ("shop.sub:make", "'shop' is not a package"),
        (".shop:make", "relative import"),
        ("shop:made", "has no attribute 'made'"),
        ("shop:number", "is a int, not a function"),
        ("broken:make", "raised SyntaxError"),
        ("failing:make", "raised JSONDecodeError"),
        ("shop:raising", "raised ValueError: no database (shop.py, line "),
        ("shop:without_a_host", "raised TypeError: without_a_host() takes 0"),
        ("shop:nothing", "returned None, which cannot be called"),
        ("shop:coroutine", "is async; only what it returns may be"),
    ],
)
def test_a_wrong_application_is_refused(typed, app, why):
    """One line: what was given, what is wrong with it, what to write."""
    line = refusal(typed(app), code=2)

    assert line.startswith(f"legion: --app: {app!r} ")
    assert why in line
    assert "write MODULE:FACTORY, such as shop.app:make" in line


def test_a_wrong_application_leaves_no_state(typed, tmp_path):
    """What cannot be imported is refused before anything is made."""
    typed("shop:made")
    assert not (tmp_path / "var").exists()


def test_a_wrong_plan_is_refused(typed, tmp_path):
    """Missing, a directory, and one with a fault."""
    (tmp_path / "bad.yaml").write_text(YAML.replace("25%", "250%"))
    for plan in ("missing.yaml", ".", "bad.yaml"):
        said = typed("shop:make", plan=plan)
        assert said.code == 2
        assert "; write " in said.err
        assert "Traceback" not in said.err


def test_a_state_that_is_a_file_is_refused(typed):
    """With the name of the file."""
    line = refusal(typed("shop:make", "--state", "plan.yaml"), code=3)

    assert "plan.yaml" in line


def test_a_state_of_another_plan_is_refused(typed):
    """The same name with other contents does not go on with the old evidence."""
    open_host("var/legion", {**PLAN, "unit": "user"}).close()
    line = refusal(typed("shop:make"), code=3)

    assert "another plan named 'greeting'" in line
    assert legion.Plan.load("plan.yaml").unit == "task"
