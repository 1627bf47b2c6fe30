"""Commands that look at a rollout: status, validate, asks, journal verify, doctor."""

from __future__ import annotations

import pytest

from cli_session import YAML, legion_says, open_host, refusal, rollout

import legion


@pytest.fixture
def state(tmp_path):
    return rollout(tmp_path / "state")


def test_status_says_where_the_rollout_stands(state):
    """Stage, share and reason, and that false_rollback is not enforced."""
    said = legion_says("status", "--state", state)

    assert (said.code, said.err) == (0, "")
    assert "greeting: running in canary, 25% of the units" in said.out
    assert "false_rollback: not enforced" in said.out


def test_status_has_the_same_for_programs(state):
    """Its keys are part of the interface."""
    found = legion_says("status", "--json", "--state", state).document

    assert set(found) == {
        *("plan", "status", "stage", "share", "exposure", "reason"),
        *("observed_s", "unbroken_s", "findings", "questions"),
        "false_rollback_enforced",
    }
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
    assert set(said.document) == {"expected_version", "ok", "checks"}
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


def test_asks_lists_and_answers(tmp_path):
    """A question has an id; answered, it is not open any more."""
    policy = legion.Policy(ask_kinds={"advance"})
    with open_host(tmp_path, policy=policy) as host:
        host.tick()
    (question,) = legion_says("asks", "--json", "--state", tmp_path).document[
        "questions"
    ]
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
    assert set(first) == {"ok", "size", "root", "faults"}
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
    assert set(found) == {"version", "python", "tried", "extras"}
    assert set(found["tried"]) == {"criteria", "state", "vectors"}
    assert all(one["ok"] for one in found["tried"].values())


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
    assert set(found) == {
        *("plan", "digest", "stages", "supplied_by_the_host"),
        *("false_rollback_enforced", "calendar", "forecast"),
    }


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
def test_a_damaged_state_file_is_refused(state, words):
    """With exit code 3, and as a document where one was asked for."""
    (state / "legion.db").write_bytes(b"not a database" * 100)
    said = legion_says(*words, "--json", "--state", state)

    assert "no state file" in refusal(said, code=3)
    assert set(said.document) == {"error", "message"}
    assert said.document["error"] == "StateCorruptError"
