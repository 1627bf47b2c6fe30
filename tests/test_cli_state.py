"""Commands that look at a rollout: status, validate, asks, journal verify, doctor."""

from __future__ import annotations

import tomllib

from pathlib import Path

import pytest

from cli_session import PLAN, YAML, documented, legion_says, open_host, refusal, rollout

import legion

from legion.testing import ManualClock


@pytest.fixture
def state(tmp_path):
    return rollout(tmp_path / "state")


def test_status_says_where_the_rollout_stands(state):
    """Stage, share and reason, and what is spent of the budget."""
    said = legion_says("status", "--state", state)

    assert (said.code, said.err) == (0, "")
    assert "greeting: running in canary, 25% of the units" in said.out
    assert "evidence of harm: E 1; frozen from 10, taken back from 100" in said.out


def test_status_says_of_each_rule_where_it_stands(tmp_path):
    """A trigger is well while it has not fired; what was not measured says why."""
    shadow = {
        "name": "shadow",
        "traffic": "0%",
        "mirror": "100%",
        "dwell": "1h",
        "validate": [
            {"metric": "deadlocks", "equals": 0},
            {"metric": "crashes", "equals": 0},
            {"metric": "error_rate", "below": "5%"},
            {"rehearsal": "rollback", "within": "1m"},
        ],
    }
    immediate = [{"metric": "containment_violations", "above": 0}]
    triggers = {"immediate": immediate, **PLAN["triggers"]}
    plan = {**PLAN, "triggers": triggers, "stages": [shadow]}
    clock = ManualClock()
    supplied = Supplied(containment_violations=0, deadlocks=0, crashes=2)
    plugins = legion.Plugins(supplied)
    with open_host(tmp_path, plan, clock=clock, plugins=plugins) as host:
        host.tick()
        unseen = legion_says("status", "--state", tmp_path).out
        clock.advance(120)
        host.tick()
    said = legion_says("status", "--state", tmp_path).out
    rules = legion_says("status", "--json", "--state", tmp_path).document["rules"]

    assert unseen.count("(nothing was observed in this stage yet)") == 5
    assert "ok   target met: deadlocks equals 0 (0" in said
    assert "FAIL target not met: crashes equals 0 (2" in said
    assert "-    target not measured: error_rate below 5 % (no data)" in said
    assert "ok   trigger not fired: containment_violations above 0 (0" in said
    assert "-    trigger not measured: error_rate above 50 % (no data)" in said
    assert "rollback rehearsed within 1 min" in said
    assert [rule["sort"] for rule in rules] == ["target"] * 4 + ["trigger"] * 2 + [
        "criterion"
    ]
    assert set(rules[0]) == {"sort", "rule", "stands", "reason"}


def test_status_says_which_trigger_fired(tmp_path):
    """It is the one that reads FAIL."""
    trigger = {"metric": "containment_violations", "above": 0}
    plan = {**PLAN, "triggers": {"immediate": [trigger]}}
    plugins = legion.Plugins(Supplied(containment_violations=1))
    with open_host(tmp_path, plan, plugins=plugins) as host:
        host.tick()
        host.tick()
    said = legion_says("status", "--state", tmp_path).out

    assert "rolled_back in no stage, 0% of the units" in said
    assert "FAIL trigger fired: containment_violations above 0 (1" in said


def test_status_says_where_a_rollout_ended_that_ended_early(tmp_path):
    """Complete below 100 % is not complete for everybody."""
    stage = {"name": "canary", "traffic": "5%", "dwell": "1m"}
    plan = {**PLAN, "triggers": {}, "stages": [stage]}
    clock = ManualClock()
    with open_host(tmp_path, plan, clock=clock) as host:
        for _ in range(5):
            host.tick()
            clock.advance(60)
    said = legion_says("status", "--state", tmp_path)

    assert "complete at 5% in canary; the others keep 1.0.0" in said.out


class Supplied:
    """A source that counts the same in every window, for either arm."""

    def __init__(self, **counts):
        self.counts = counts

    @legion.hookimpl
    def legion_observe(self):
        return {name: legion.Count(n) for name, n in self.counts.items()}


def test_status_has_the_same_for_programs(state):
    """Its keys are part of the interface."""
    found = legion_says("status", "--json", "--state", state).document

    assert set(found) == documented("status")
    assert (found["status"], found["stage"], found["share"]) == (
        *("running", "canary"),
        0.25,
    )


@pytest.mark.parametrize(
    ("version", "failed"),
    [("1.0.0", {"traffic", "status", "features", "registry"}), ("2.0.0", {"traffic"})],
)
def test_validate_names_what_does_not_fit(state, version, failed):
    """In the midst of a rollout neither version is what everybody gets."""
    said = legion_says(
        *("validate", "--json", "--state", state, "--expected-version", version)
    )

    assert said.code == 1
    assert set(said.document) == documented("validate")
    assert {c["check"] for c in said.document["checks"] if not c["ok"]} == failed


def test_validate_agrees_after_a_rollback(state):
    """Traffic, features, live snapshot and journal are those of the baseline."""
    legion_says(
        *("rollback", "--state", state, "--version", "1.0.0"),
        *("--reason", "drill", "--immediate"),
    )
    said = legion_says("validate", "--state", state, "--expected-version", "1.0.0")

    assert said.code == 0, said
    assert "FAIL" not in said.out
    assert "all of the candidate's are off" in said.out


def test_validate_refuses_a_version_that_the_plan_does_not_know(state):
    """The message lists the two there are."""
    said = legion_says("validate", "--state", state, "--expected-version", "9.9")

    assert "got version 9.9; write 1.0.0 or 2.0.0" in refusal(said, code=2)


def test_validate_finds_a_broken_byte(state):
    """The snapshot that is live is hashed again."""
    part = min((state / "registry" / "objects").glob("*/*"))
    part.chmod(0o644)
    part.write_bytes(b"tampered")
    checks = [
        legion_says(
            *("validate", "--json", "--state", state, "--expected-version", version)
        ).document["checks"]
        for version in ("1.0.0", "2.0.0")
    ]

    assert "snapshot" in {c["check"] for both in checks for c in both if not c["ok"]}


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_validate_misses_a_registry_that_is_gone(tmp_path, version):
    """The exposure names code by its digest, so somebody has to hold it."""
    state = rollout(tmp_path / "state", stages=[whole_stage()])
    back = ("rollback", "--version", "1.0.0", "--reason", "drill", "--immediate")
    if version == "1.0.0":
        assert legion_says(*back, "--state", state).code == 0
    words = ("validate", "--state", state, "--expected-version", version)
    assert legion_says(*words).code == 0

    (state / "registry").rename(tmp_path / "gone")
    said = legion_says(*words)

    assert (said.code, said.err) == (1, "")
    assert "put the registry back" in said.out


def test_validate_misses_one_snapshot(tmp_path):
    """The way back is part of what a version that runs has to have."""
    state = rollout(tmp_path / "state", stages=[whole_stage()])
    with open_host(state, {**PLAN, "stages": [whole_stage()]}) as host:
        digest = host.registry.resolve("v1")
    (state / "registry" / "snapshots" / digest[:2] / digest[2:]).unlink()
    said = legion_says("validate", "--state", state, "--expected-version", "2.0.0")

    assert said.code == 1
    assert f"FAIL snapshot: the code of control, {digest[:12]}" in said.out


def test_validate_needs_no_registry_where_the_code_is_kept_elsewhere(tmp_path):
    """The exposure names versions then, and no digests."""
    state = rollout(tmp_path / "state", versions=False, stages=[whole_stage()])
    said = legion_says("validate", "--state", state, "--expected-version", "2.0.0")

    assert said.code == 0, said
    assert "nothing was ever made live in it" in said.out


def whole_stage():
    return {"name": "all", "traffic": "100%", "dwell": "1m"}


def test_asks_lists_and_answers(tmp_path):
    """A question has an id; answered, it is not open any more."""
    policy = legion.Policy(ask_kinds={"advance"})
    with open_host(tmp_path, policy=policy) as host:
        host.tick()
    (question,) = legion_says("asks", "--json", "--state", tmp_path).document[
        "questions"
    ]
    assert documented("asks") == {"questions"}
    assert set(question) == {"id", "title", "reason"}
    assert question["id"] in legion_says("asks", "--state", tmp_path).out

    said = legion_says(
        *("asks", question["id"], "--approve", "--by", "ops", "--state", tmp_path)
    )

    assert said.code == 0
    assert f"{question['id']} is approved by ops" in said.out
    assert legion_says("asks", "--json", "--state", tmp_path).document == {
        "questions": []
    }
    again = legion_says(
        *("asks", question["id"], "--deny", "--by", "ops", "--state", tmp_path)
    )
    assert question["id"] in refusal(again, code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("some-id",),
        ("some-id", "--approve"),
        ("some-id", "--by", "me"),
        ("--approve", "--by", "me"),
        ("--by", "me"),
    ],
)
def test_half_an_answer_is_refused(state, words):
    """An answer has a question, a yes or no, and somebody who gives it."""
    said = legion_says("asks", *words, "--state", state)

    assert "write ID, --approve or --deny, and --by WHO" in refusal(said, code=2)


def test_an_unknown_question_is_refused(state):
    """The message says which are open."""
    said = legion_says("asks", "nope", "--approve", "--by", "me", "--state", state)

    assert "no question 'nope'; open are: none" in refusal(said, code=2)


def test_a_journal_verifies_against_a_root_that_was_kept(state):
    """The printed root and size, given back, find nothing; other ones do."""
    file = state / "legion.db"
    first = legion_says("journal", "verify", file, "--json").document
    assert set(first) == documented("journal verify")
    assert first["ok"]

    kept = ("--root", first["root"], "--size", first["size"])
    assert legion_says("journal", "verify", file, *kept).code == 0
    other = ("--root", "0" * 64, "--size", first["size"])
    said = legion_says("journal", "verify", file, *other)
    assert said.code == 1
    assert "do not have the root that was kept" in said.out


def test_a_root_without_its_size_is_refused(state):
    """One is nothing without the other."""
    for half in (("--root", "0" * 64), ("--size", "3")):
        said = legion_says("journal", "verify", state / "legion.db", *half)
        assert "write both" in refusal(said, code=2)


def test_what_is_no_journal_is_refused_and_left_alone(tmp_path):
    """A missing file, a directory, an empty file and a text are not made into one."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "plan.yaml").write_text(YAML)
    for name, why in (
        ("nowhere.db", "no such file"),
        (".", "is a directory"),
        ("empty.db", "is empty"),
        ("plan.yaml", "no state file"),
    ):
        said = legion_says("journal", "verify", tmp_path / name)
        assert why in refusal(said, code=3)
        assert "write" in said.err
    assert (tmp_path / "empty.db").stat().st_size == 0
    assert (tmp_path / "plan.yaml").read_text() == YAML


def test_a_tampered_journal_is_named(state):
    """The entry, in words and as a number."""
    file = state / "legion.db"
    raw = file.read_bytes()
    assert b"nothing is exposed yet" in raw
    file.write_bytes(raw.replace(b"nothing is exposed yet", b"nothing is exposed now"))
    said = legion_says("journal", "verify", file, "--json")

    assert said.code == 1
    assert said.document["faults"][0]["seq"] is not None


def test_doctor_tries_what_legion_needs(tmp_path):
    """Each part in turn, and what an extra brings."""
    said = legion_says("doctor")
    assert said.code == 0, said
    assert "criteria: 21 built in" in said.out

    found = legion_says("doctor", "--json").document
    assert set(found) == documented("doctor")
    assert set(found["tried"]) == {"criteria", "state", "vectors"}
    assert all(one["ok"] for one in found["tried"].values())
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert set(found["extras"]) == set(project["project"]["optional-dependencies"])
    for one in found["extras"].values():
        assert set(one) == {"ok", "found"}


def test_doctor_says_what_is_broken(monkeypatch):
    """A part that raises is a finding, not a traceback."""
    from legion.cli.commands import doctor

    def broken(*_):
        raise OSError("no room left")

    monkeypatch.setattr(doctor, "Journal", broken)
    said = legion_says("doctor")

    assert said.code == 1
    assert "FAIL state: OSError: no room left" in said.out


def test_check_says_what_each_stage_needs(tmp_path):
    """Traffic, time, and what the host must supply."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML)
    said = legion_says("check", plan)

    assert (said.code, said.err) == (0, "")
    assert "greeting: 2.0.0 over 1.0.0, randomised by task" in said.out
    assert "3 min" in said.out
    found = legion_says("check", plan, "--json").document
    assert set(found) == documented("check")


def test_check_warns_of_a_plan_that_ends_early(tmp_path):
    """It is complete at 25 %, which may be meant; a plan up to 100 % has no warning."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML)
    said = legion_says("check", plan)
    found = legion_says("check", plan, "--json").document

    assert (
        "careful: it ends in canary, and is complete with 25% of the units" in said.out
    )
    assert "complete with 25%" in found["warnings"][0]
    plan.write_text(YAML.replace("25%", "100%").replace("1m: [", "5m: ["))
    assert legion_says("check", plan, "--json").document["warnings"] == []


def test_check_warns_of_a_deadline_that_nobody_would_see(tmp_path):
    """Within a minute of what is looked at every five."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML.replace("25%", "100%"))
    said = legion_says("check", plan)

    assert said.code == 0
    assert "triggers within 60 s (error_rate): up to 5 min pass" in said.out
    plan.write_text(
        YAML.replace("25%", "100%").replace(
            "unit: task", "unit: task\ncheck_interval: 30s"
        )
    )
    assert "careful" not in legion_says("check", plan).out


def test_check_warns_of_users_that_are_judged_at_once(tmp_path):
    """One who comes back would be judged by the first visit alone."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML.replace("unit: task", "unit: user"))
    warned = legion_says("check", plan, "--json").document["warnings"]
    plan.write_text(YAML.replace("unit: task", "unit: user\nmatures: 1d"))

    assert any("a user comes back" in said for said in warned)
    assert not any(
        "comes back" in said
        for said in legion_says("check", plan, "--json").document["warnings"]
    )


def test_check_of_a_directory_says_that_it_is_one(tmp_path):
    """And not that its name lacks a suffix."""
    (tmp_path / "plans.yaml").mkdir()
    for folder in (tmp_path, tmp_path / "plans.yaml"):
        said = legion_says("check", folder)
        assert said.code == 2
        assert "a directory; write the path of the plan's file in it" in said.err


def test_check_lists_every_fault_of_a_plan(tmp_path):
    """With line, key, what was given and what to write; programs get them apart."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(YAML.replace("25%", "250%").replace("unit: task", "unti: task"))
    said = legion_says("check", plan)

    assert said.code == 2
    assert "2 faults in the plan" in said.err or "3 faults in the plan" in said.err
    assert "line 4: " in said.err
    found = legion_says("check", plan, "--json").document
    assert set(found) == {"error", "message", "faults"}
    assert set(found["faults"][0]) == {"line", "key", "given", "write"}


@pytest.mark.parametrize("name", ["missing.yaml", ".", "plan.txt", "binary.yaml"])
def test_check_refuses_what_is_no_plan(tmp_path, name):
    """Missing, a directory, another kind of file, bytes."""
    (tmp_path / "plan.txt").write_text(YAML)
    (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\xfe")
    said = legion_says("check", tmp_path / name)

    assert said.code == 2
    assert "; write " in said.err
    assert "Traceback" not in said.err


WITH_STATE = [
    ("status",),
    ("asks",),
    ("validate", "--expected-version", "1.0.0"),
    ("rollback", "--version", "1.0.0", "--reason", "drill", "--immediate"),
    ("restore", "--snapshot", "v1"),
    ("deactivate", "--all-v4.1"),
]


@pytest.mark.parametrize("words", WITH_STATE, ids=lambda words: words[0])
def test_a_state_that_is_none_is_refused_and_not_made(tmp_path, words):
    """A missing directory, an empty one, and a file."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("nowhere", "empty", "file"):
        said = legion_says(*words, "--state", tmp_path / name)
        assert "write --state DIR" in refusal(said, code=3)
    assert not (tmp_path / "nowhere").exists()
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("words", WITH_STATE, ids=lambda words: words[0])
def test_a_damaged_state_file_is_refused_except_for_going_back(state, words):
    """With exit code 3, and as a document where one was asked for."""
    (state / "legion.db").write_bytes(b"not a database" * 100)
    said = legion_says(*words, "--json", "--state", state)

    if words[0] == "rollback":
        assert (said.code, said.document["code"]) == (1, "latched")
        assert (state / "legion.db.latch").read_text() == "drill\n"
        return
    assert "no state file" in refusal(said, code=3)
    assert set(said.document) == {"error", "message"}
    assert said.document["error"] == "StateCorruptError"
