"""Where plans come from, and what is refused before it can do harm."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest

from legion.exceptions import PlanError
from legion.stages.plan import Plan


YAML = """\
plan: p
candidate: 2.0.0
baseline: 1.0.0
rollback: {to: v1, within: 5m}
triggers:
  within 15m:
    - {metric: error_rate, above: 5%}
stages:
  - name: shadow
    traffic: 0%
    mirror: 100%
    dwell: 1h
    features: {l4_cache: {enabled: true, capacity: 10, tags: [a, b]}}
    validate:
      - {metric: error_rate, below: 2%}
  - {name: all, traffic: 100%}
"""

TOML = """\
# the same plan
plan = "p"
candidate = '2.0.0'
baseline = "1.0.0"
rollback = { to = "v1", within = "5m" }   # a comment with [brackets] = and "quotes"

[[triggers."within 15m"]]
metric = "error_rate"
above = "5%"

[[stages]]
name = "shadow"
traffic = 0.0
mirror = "100%"
dwell = "1h"
validate = [
  # a comment
  {metric = "error_rate", below = "2%"},
]

[stages.features.l4_cache]
enabled = true
capacity = 10
tags = [
  "a",
  "b",
]

[[stages]]
name = "all"
traffic = 1.0
"""


def refused(text, format_="yaml"):
    with pytest.raises(PlanError) as caught:
        Plan.from_text(text, format=format_)
    return caught.value.faults


def test_yaml_and_toml_say_the_same():
    """The same plan in two formats is one plan."""
    assert Plan.from_text(YAML) == Plan.from_text(TOML, format="toml")


@pytest.mark.parametrize(
    ("name", "text"), [("p.yaml", YAML), ("p.YML", YAML), ("p.toml", TOML)]
)
def test_the_suffix_names_the_format(tmp_path, name, text):
    """A file is read as what it ends in; text or bytes path alike."""
    path = tmp_path / name
    path.write_text(text, "utf-8")

    assert Plan.load(path) == Plan.load(str(path)) == Plan.from_text(YAML)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    """Some editors write one."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + YAML.encode())

    assert Plan.load(path).name == "p"


def test_another_format_is_refused(tmp_path):
    """What is neither YAML nor TOML is named."""
    with pytest.raises(PlanError, match=r"got \.ini; write a file that ends in \.yaml"):
        Plan.load(tmp_path / "p.ini")
    with pytest.raises(PlanError, match="no suffix"):
        Plan.load("plan")
    with pytest.raises(ValueError, match="write 'yaml' or 'toml'"):
        Plan.from_text(YAML, format="ini")


def test_a_missing_file_is_named(tmp_path):
    """The message holds the path and the reason."""
    with pytest.raises(PlanError, match=r"nowhere\.yaml: No such file"):
        Plan.load(tmp_path / "nowhere.yaml")
    with pytest.raises(PlanError, match="null"):
        Plan.load("a\0b.yaml")


def test_a_directory_is_refused(tmp_path):
    """A directory may end in .yaml and is still no plan."""
    (tmp_path / "d.yaml").mkdir()

    with pytest.raises(PlanError, match="a directory"):
        Plan.load(tmp_path / "d.yaml")


def test_a_pipe_is_not_waited_for(tmp_path):
    """A named pipe that nobody writes to does not hang the reader."""
    os.mkfifo(tmp_path / "p.yaml")

    with pytest.raises(PlanError, match="no regular file"):
        Plan.load(tmp_path / "p.yaml")


def test_a_file_of_a_hundred_megabytes_is_refused_unread(tmp_path, monkeypatch):
    """It is measured, and never opened."""
    path = tmp_path / "p.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    opened = []
    monkeypatch.setattr(type(path), "open", lambda *args: opened.append(args))

    with pytest.raises(PlanError, match="got 100000000 bytes; write at most 1000000"):
        Plan.load(path)
    assert not opened


def test_a_text_of_a_hundred_megabytes_is_refused():
    """A text is measured, too."""
    (fault,) = refused("#" * 100_000_000)

    assert "at most 1000000 bytes" in fault.write


def test_what_is_not_utf8_is_refused_with_its_line(tmp_path):
    """The byte and its line are told."""
    path = tmp_path / "p.yaml"
    path.write_bytes(b"plan: p\ncandidate: \xff\n")

    with pytest.raises(PlanError, match="line 2: plan: got the byte 0xff"):
        Plan.load(path)


def test_what_cannot_be_utf8_is_refused():
    """A lone surrogate is no text, neither in a text nor in a mapping."""
    assert refused("plan: p\nx: \ud800\n")[0].line == 2
    assert refused("plan = '\ud800'\n", "toml")[0].line == 1
    for value in ({"plan": "\ud800"}, {"\ud800": 1}):
        with pytest.raises(PlanError, match="surrogate"):
            Plan.from_dict(value)


def levels(n, wide=9):
    lines = ["a0: &a0 [" + ", ".join(["x"] * wide) + "]"]
    for i in range(1, n):
        lines.append(f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * wide) + "]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "given", "write", "line"),
    [
        (levels(30), "more than 10000 values", "every alias counted in full", 4),
        ("a: &a [" + "*b, " * 3, "the alias *b", "ends before it", 1),
        ("a: &a\n  b: *a", "the alias *a", "ends before it", 2),
        ("[" * 100_000, "more than 50 levels", "at most 50 levels", 1),
        ("{a: " * 100_000, "more than 50 levels", "at most 50 levels", 1),
        ("- " * 100_000, "more than 50 levels", "at most 50 levels", 1),
        ("a: [" + "1," * 100_000 + "]", "more than 10000 values", "at most", 1),
        ("x: 1\ny: !!python/name:os.system ''", "python/name", "without a tag", 2),
        ("x: 1\ny: !mine {}", "'!mine'", "without a tag", 2),
        ("x: 1\n? [a]\n: 2", "a key that is no text", "a key", 2),
        ("x: 1\n? {a: b}\n: 2", "a key that is no text", "a key", 2),
        ("x: &a 1\n*a : 2", "a key that is no text", "a key", 2),
        ("x: 1\n---\ny: 2", "a second document", "one plan a file", 2),
        ("x: 1\n\ty: 2", "found", "valid YAML", 2),
        ("x: 1\ny: [1, 2", "expected", "valid YAML", 2),
        ("x: 1\ny: a: b", "not allowed", "valid YAML", 2),
        ("x: 1\ny: \x07", "unreadable character", "printable", 2),
    ],
    ids=lambda value: (
        None if isinstance(value, int) else str(value)[:24].split("\n")[0]
    ),
)
def test_yaml_that_is_no_plan_is_refused_at_its_line(text, given, write, line):
    """Bombs, rings, brackets without end, tags and broken syntax: one fault each."""
    (fault,) = refused(text)

    assert given in fault.given
    assert write in fault.write
    assert fault.line == line


def test_the_depth_of_an_alias_counts():
    """Nesting cannot be hidden behind an anchor."""
    deep = "[" * 30 + "]" * 30

    (fault,) = refused(f"a: &a {deep}\nb: {'[' * 30}*a{']' * 30}")

    assert "50 levels" in fault.given
    assert fault.line == 2


def test_a_bomb_costs_nothing():
    """A thousandfold nested alias is refused without being expanded."""
    began = time.process_time()
    refused(levels(2000, wide=20))

    assert time.process_time() - began < 2


def test_an_honest_alias_is_welcome():
    """Rules may be written once and used in several stages."""
    text = YAML.replace("validate:", "validate: &rules").replace(
        "{name: all, traffic: 100%}", "{name: all, traffic: 100%, validate: *rules}"
    )

    plan = Plan.from_text(text)

    assert plan.stages[0].validate == plan.stages[1].validate != ()


@pytest.mark.parametrize(
    ("text", "given", "line"),
    [
        ("plan = 'p'\nx = [", "invalid", 2),
        ("plan = 'p'\nplan = 'q'", "overwrite", 2),
        ("plan = 'p'\n\n[a]\n[a]", "declare", 4),
        ("x = " + "[" * 100_000, "nested too deep", None),
        ("x = " + "[" * 60 + "]" * 60, "50 levels", None),
        ("x = [" + "1," * 20_000 + "]", "more than 10000 values", None),
        ("x = 1" + "0" * 5000, "", None),
    ],
    ids=range(7),
)
def test_toml_that_is_no_plan_is_refused_at_its_line(text, given, line):
    """Broken syntax, keys given twice and values without end: one fault each."""
    faults = refused(text, "toml")

    assert given in faults[0].given
    assert faults[0].line == line or line is None


def test_a_date_of_toml_is_refused():
    """Only text and numbers can stand in a plan."""
    faults = refused(TOML.replace("'2.0.0'", "2020-01-01"), "toml")

    assert [(f.key, f.given, f.line) for f in faults] == [("candidate", "a date", 3)]


def lines_of(text):
    return {fault.key: fault.line for fault in refused(text, "toml")}


def test_faults_of_toml_have_the_line_of_their_key():
    """Tables, lists of tables, arrays over many lines, dotted and quoted keys."""
    spoilt = TOML
    for good, bad in (
        ("candidate = '2.0.0'", "candidate = 4.1"),
        ('within = "5m"', "within = 5"),
        ('above = "5%"', "above = 5"),
        ('below = "2%"', 'belo = "2%"'),
        ("enabled = true", "enabled = 1"),
        ('name = "all"', 'name = "shadow"'),
        ("traffic = 1.0", 'traffic = "-1%"'),
    ):
        assert good in spoilt
        spoilt = spoilt.replace(good, bad)

    assert lines_of(spoilt) == {
        "candidate": 3,
        "rollback.within": 5,
        "triggers.within 15m[0].above": 9,
        "stages[0].validate[0].belo": 18,
        "stages[0].validate[0]": 18,
        "stages[0].features.l4_cache.enabled": 22,
        "stages[1].name": 30,
        "stages[1].traffic": 31,
    }


def test_lines_of_toml_survive_strings_that_look_like_toml():
    """Quotes, escapes and line breaks inside of strings are not keys."""
    text = (
        'plan = """\n[stages]\nx = 1 \\" \\\n """\n'
        "candidate = '''\n[[a]]\n''''\n"
        'baseline = "a \\" # [b]"\n'
        "\"qu\\u00f6ted key\" . 'b' = 1\n"
        "a.b.c = [ [1, 2], # ]\n  { d = 'x}' } ]\n"
        "z = 1979-05-27T07:32:00Z # date\n"
        "last = 1\n"
    )

    lines = lines_of(text)

    assert (lines["plan"], lines["candidate"], lines["qu\u00f6ted key"]) == (1, 5, 9)
    assert (lines["a"], lines["z"], lines["last"]) == (10, 12, 13)


PIECES = [
    *TOML.splitlines(keepends=True),
    '"a.b" = {c = [1, {d = 2}]}\n',
    "x.y.z = 1\n",
    '[x."y y"]\n',
    "[[x.l]]\n",
    "k = '''\n'''\n",
    'k = """a\\\n b"""\n',
    "n = [\n1,\n2, # c\n]\n",
    "\r\n",
    "t = 07:32:00\n",
    "f = -1e3\n",
    "e = {}\n",
    "h = 0xff\n",
    "inf = inf\n",
]


def test_no_toml_breaks_the_search_for_lines():
    """Whatever is made of pieces of TOML is a plan or a `PlanError`."""
    dice = random.Random(20)
    read = 0
    for _ in range(1500):
        text = "".join(dice.sample(PIECES, dice.randint(1, 12)))
        for fault in refused(text, "toml"):
            read += fault.key != "toml"
            assert fault.line is None or 1 <= fault.line <= text.count("\n") + 1
    assert read > 1000


def test_a_key_given_twice_is_named_by_its_whole_path():
    """The path of a key that stands twice goes through lists and mappings."""
    faults = {fault.key: fault for fault in refused("a:\n - b: 1\n - c: 1\n   c: 2\n")}

    assert faults["a[1].c"].line == 4
    assert "line 3" in faults["a[1].c"].write


def test_a_mapping_that_holds_itself_is_refused():
    """A ring of Python objects has no end and is no plan."""
    ring = {"plan": "p"}
    ring["stages"] = [ring]

    with pytest.raises(PlanError, match="50 levels"):
        Plan.from_dict(ring)


def test_what_json_has_no_word_for_is_refused():
    """Objects, sets, bytes and huge numbers in a mapping are faults with their key."""
    for value in ({1}, b"x", object(), 10**5000, 1j):
        with pytest.raises(PlanError, match="candidate"):
            Plan.from_dict({"plan": "p", "candidate": value})


def test_plain_subclasses_are_read_as_what_they_are():
    """Numbers and text of other types come out plain."""

    class Name(str):
        __slots__ = ()

    plan = Plan.from_text(YAML)
    value = plan.to_dict()
    value["plan"] = Name("p")

    assert type(Plan.from_dict(value).name) is str
    assert Plan.from_dict(value) == plan


def test_no_yaml_without_a_yaml_plan():
    """A mapping or a TOML file is read without loading PyYAML."""
    code = (
        "import sys\n"
        "from legion.stages.plan import Plan\n"
        f"Plan.from_dict(Plan.from_text({TOML!r}, format='toml').to_dict())\n"
        "print('yaml' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"
