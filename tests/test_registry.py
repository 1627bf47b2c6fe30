"""The registry: what is put comes back, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading

from pathlib import Path

import pluggy
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from legion import hookspecs
from legion.canonical import digest as canonical_digest
from legion.exceptions import (
    SnapshotCorruptError,
    SnapshotError,
    SnapshotNotFoundError,
)
from legion.model import Arm, Count
from legion.registry import Registry


FILES = {"a.txt": b"alpha", "prompts/hi.txt": b"hello", "prompts/empty": b""}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def plan(self) -> float:
        return self.now

    def machine(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry", clock=Clock())


def place(registry: Registry, data: bytes) -> Path:
    """Return where an object with these bytes lies."""
    name = hashlib.sha256(data).hexdigest()
    return registry.path / "objects" / name[:2] / name[2:]


def flip(path: Path, *, at: int = 0) -> None:
    """Change one bit of a file, as a bad disk would."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)


def test_what_is_put_is_read_back(registry):
    """By version, digest or prefix, file by file."""
    digest = registry.put(FILES, version="1.0.0")
    for name in ("1.0.0", digest, digest[:8]):
        assert registry.resolve(name) == digest
        for path, data in FILES.items():
            assert registry.read(path, snapshot=name) == data
    assert registry.files("1.0.0")["a.txt"].size == 5
    assert registry.verify() == {}


def test_the_digest_is_that_of_the_canonical_manifest(registry):
    """Anybody can name a snapshot without a registry."""
    digest = registry.put({"b": b"2", "a": b"1"})
    assert digest == canonical_digest(
        {
            name: {
                "digest": hashlib.sha256(data).hexdigest(),
                "size": 1,
                "mode": "644",
            }
            for name, data in [("a", b"1"), ("b", b"2")]
        }
    )


def test_a_directory_is_put_and_checked_out_with_its_programs(registry, tmp_path):
    """Bytes, paths and the right to be run survive; the digest does not wander."""
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "run").write_bytes(b"#!/bin/sh\n")
    (source / "bin" / "run").chmod(0o755)
    (source / "data.bin").write_bytes(bytes(range(256)))
    digest = registry.put(source, version="1")
    target = registry.checkout("1", tmp_path / "new" / "target")
    assert os.access(target / "bin" / "run", os.X_OK)
    assert not (target / "data.bin").stat().st_mode & 0o111
    assert registry.put(target) == digest
    assert [item.name for item in target.parent.iterdir()] == ["target"]


def test_a_checkout_does_not_write_over_anything(registry, tmp_path):
    """A full directory is refused; of a damaged snapshot none appears."""
    registry.put(FILES, version="1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(SnapshotError, match="not empty"):
        registry.checkout("1", tmp_path / "full")
    (tmp_path / "empty").mkdir()
    registry.checkout("1", tmp_path / "empty")
    flip(place(registry, b"alpha"))
    with pytest.raises(SnapshotCorruptError):
        registry.checkout("1", tmp_path / "other")
    assert {p.name for p in tmp_path.iterdir()} == {"registry", "full", "empty"}


@settings(max_examples=30, deadline=None)
@given(
    files=st.dictionaries(
        st.lists(
            st.text(
                st.characters(categories=["L", "N"], include_characters=" .-_"),
                min_size=1,
                max_size=4,
            ).filter(lambda part: part not in {".", ".."}),
            min_size=1,
            max_size=3,
        ).map("/".join),
        st.binary(max_size=40),
        max_size=5,
    )
)
def test_any_files_survive_the_round_trip(tmp_path_factory, files):
    """Whatever the paths and bytes: put, read, check out, put again, the same."""
    folders = {str(parent) for path in files for parent in Path(path).parents}
    files = {path: data for path, data in files.items() if path not in folders}
    folder = tmp_path_factory.mktemp("round")
    registry = Registry(folder / "registry", clock=Clock())
    digest = registry.put(files, version="v")
    assert {p: registry.read(p, snapshot="v") for p in files} == files
    assert registry.restore("v") == registry.active() == digest
    assert registry.verify() == {}
    assert registry.put(registry.checkout("v", folder / "out")) == digest


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "a/../b", "/etc/x", "a//b", "a/", "./a", "a\0b", "a\nb", 7],
)
def test_a_path_that_could_lead_outside_is_refused(registry, path):
    """The error shows the path and what to write; nothing is stored under it."""
    with pytest.raises(SnapshotError, match="write a relative path"):
        registry.put({path: b"x"}, version="1")
    assert registry.refs() == {}


def test_what_is_no_plain_file_is_refused(registry, tmp_path):
    """Links, pipes, text for bytes, a file that is also a folder, a missing source."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("/etc/hostname")
    with pytest.raises(SnapshotError, match="real file"):
        registry.put(source)
    (source / "link").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(SnapshotError, match="real file"):
        registry.put(source)
    with pytest.raises(SnapshotError, match="write bytes"):
        registry.put({"a": "text"})
    with pytest.raises(SnapshotError, match="lies in it"):
        registry.put({"a": b"", "a/b": b""})
    with pytest.raises(SnapshotError, match="no directory"):
        registry.put(tmp_path / "missing")
    with pytest.raises(SnapshotError, match="keep them apart"):
        registry.put(tmp_path)


def test_a_version_means_one_content_for_good(registry):
    """The same content again is fine; other content is refused, and so is a ref."""
    digest = registry.put(FILES, version="1.0.0", detail={"by": "ci"})
    assert registry.put(dict(reversed(FILES.items())), version="1.0.0") == digest
    with pytest.raises(SnapshotError, match="for good"):
        registry.put({"a.txt": b"other"}, version="1.0.0")
    with pytest.raises(SnapshotError, match="is a version"):
        registry.tag("1.0.0", digest)
    registry.tag("stable", "1.0.0")
    with pytest.raises(SnapshotError, match="is a ref"):
        registry.put(FILES, version="stable")
    assert registry.refs() == {"1.0.0": digest, "stable": digest}
    assert registry.moves()[0].detail == {"by": "ci"}


@pytest.mark.parametrize(
    "name", ["", "live", "../x", "a/b", ".hidden", "-x", "a b", "f" * 64, "x" * 129]
)
def test_a_name_that_is_no_name_is_refused(registry, name):
    """The error says what a name may hold."""
    digest = registry.put(FILES)
    with pytest.raises(SnapshotError, match="write letters"):
        registry.put(FILES, version=name)
    with pytest.raises(SnapshotError, match="write letters"):
        registry.tag(name, digest)


def test_detail_needs_a_version(registry):
    """There would be nothing to write it beside."""
    with pytest.raises(SnapshotError, match="without a version"):
        registry.put(FILES, detail={"by": "ci"})


def test_a_ref_may_move_and_its_moves_are_written_down(registry):
    """Old and new digest and the date, for refs and for the live pointer."""
    one, two = registry.put({"n": b"1"}), registry.put({"n": b"2"})
    registry.tag("stable", one)
    registry.tag("stable", two)
    registry.activate("stable")
    registry.activate(one)
    told = [(move.ref, move.before, move.after) for move in registry.moves()]
    assert told == [
        ("stable", "", one),
        ("stable", one, two),
        ("live", "", two),
        ("live", two, one),
    ]
    assert {move.at for move in registry.moves()} == {1_700_000_000.0}


def test_a_log_of_moves_that_was_cut_off_is_mended(registry):
    """A torn last line is left out, and the next move gets a line of its own."""
    one = registry.put(FILES, version="1")
    with (registry.path / "reflog").open("ab") as file:
        file.write(b'{"after":"12')
    registry.activate("1")
    assert [move.ref for move in registry.moves()] == ["1", "live"]
    assert registry.moves()[1].after == one


def test_a_log_that_takes_no_more_does_not_keep_one_from_going_back(registry, caplog):
    """The move is made, and the failure is in the log."""
    digest = registry.put(FILES)
    (registry.path / "reflog").mkdir()
    with caplog.at_level(logging.WARNING, "legion"):
        assert registry.restore(digest) == digest
    assert "not in the log of moves" in caplog.text


def test_what_is_not_there_is_an_error_that_lists_what_is(registry):
    """Unknown names, short prefixes and the digest of a plain file."""
    with pytest.raises(SnapshotNotFoundError, match="none yet"):
        registry.resolve("1.0.0")
    assert registry.active() == ""
    digest = registry.put(FILES, version="1.0.0")
    alpha = hashlib.sha256(b"alpha").hexdigest()
    for name in ("2.0.0", digest[:7], "live", "", "0" * 64, alpha, "../versions/1.0.0"):
        with pytest.raises(SnapshotNotFoundError, match=f"1.0.0 .{digest[:12]}"):
            registry.resolve(name)
    with pytest.raises(SnapshotNotFoundError, match=r"a\.txt, prompts/empty"):
        registry.read("b.txt", snapshot="1.0.0")
    with pytest.raises(SnapshotNotFoundError):
        registry.read("a.txt")


def test_a_prefix_of_several_digests_is_refused(registry):
    """It says which there are, so one can write more of it."""
    digest = registry.put(FILES)
    twin = digest[:8] + "0" * 56
    (registry.path / "snapshots" / twin[:2] / twin[2:]).write_bytes(b"{}")
    with pytest.raises(SnapshotError, match="2 digests begin"):
        registry.resolve(digest[:8])


def test_activate_and_restore_swing_the_pointer_and_back(registry):
    """Going back is the same call with the old digest, as often as one likes."""
    old = registry.put({"n": b"1"}, version="1")
    new = registry.put({"n": b"2"}, version="2")
    for name, digest in [("1", old), ("2", new), ("1", old), ("1", old)]:
        assert registry.restore(name) == digest
        assert registry.active() == registry.resolve("live") == digest
        assert registry.read("n") == name.encode()
    assert registry.activate(new) == new


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_snapshot_is_refused_and_what_was_live_stays(registry, damage):
    """It is found, named, kept for a look, and never made live or served."""
    good = registry.put({"a.txt": b"good"}, version="good")
    bad = registry.put(FILES, version="bad")
    registry.activate("good")
    target = place(registry, b"alpha")
    if damage == "flip":
        flip(target, at=3)
    elif damage == "truncate":
        os.truncate(target, 2)
    elif damage == "remove":
        target.unlink()
    else:
        target = registry.path / "snapshots" / bad[:2] / bad[2:]
        flip(target, at=20)
    where = "." if damage == "manifest" else "a.txt"
    found = registry.verify("bad")
    assert list(found) == [where]
    assert found[where]["problem"] == ("missing" if damage == "remove" else "differs")
    assert list(registry.verify()) == [f"bad:{where}"]
    for act in (registry.activate, registry.restore):
        with pytest.raises(
            SnapshotCorruptError, match="what was live still is"
        ) as caught:
            act("bad")
        assert caught.value.path == str(target)
        assert registry.active() == good
    with pytest.raises(SnapshotCorruptError):
        registry.read("a.txt", snapshot="bad")
    kept = [item.read_bytes() for item in (registry.path / "quarantine").glob("*")]
    assert kept == ([] if damage == "remove" else [target.read_bytes()])
    assert registry.verify("good") == {}


@pytest.mark.parametrize("damage", ["flip", "remove", "manifest"])
def test_putting_the_same_content_again_mends_it(registry, damage):
    """What is damaged is written anew, and then restore works again."""
    digest = registry.put(FILES, version="1")
    if damage == "manifest":
        flip(registry.path / "snapshots" / digest[:2] / digest[2:])
    elif damage == "flip":
        flip(place(registry, b"hello"))
    else:
        place(registry, b"hello").unlink()
    assert registry.verify("1") != {}
    assert registry.put(FILES, version="1") == digest
    assert registry.verify() == {}
    assert registry.restore("1") == digest


def test_damaged_pointers_are_found_and_can_be_set_again(registry):
    """A pointer that holds no digest is an error, is counted, and is mended."""
    digest = registry.put(FILES, version="1")
    registry.tag("stable", "1")
    registry.activate("1")
    for name in ("live", "refs/stable", "versions/1"):
        (registry.path / name).write_text(digest[:40])
    assert set(registry.verify()) == {"live:.", "stable:.", "1:."}
    with pytest.raises(SnapshotCorruptError, match="holds no digest"):
        registry.active()
    assert registry.legion_observe("", Arm.CONTROL) == {"registry_integrity": Count(3)}
    with pytest.raises(SnapshotError, match="for good"):
        registry.put({"other": b""}, version="1")
    assert registry.put(FILES, version="1") == digest
    assert registry.tag("stable", digest) == registry.restore("1") == digest
    assert registry.verify() == {}


def test_a_pointer_to_what_never_was_is_found(registry):
    """A flipped digit of a pointer names no snapshot, and `verify` says so."""
    digest = registry.put(FILES, version="1")
    registry.activate("1")
    other = ("0" if digest[0] != "0" else "1") + digest[1:]
    (registry.path / "live").write_text(other + "\n")
    assert registry.verify()["live:."]["problem"] == "missing"
    with pytest.raises(SnapshotCorruptError):
        registry.read("a.txt")


def test_nothing_is_made_before_the_first_write(tmp_path):
    """Looking at a registry that is not there leaves it so."""
    registry = Registry(str(tmp_path / "registry"), clock=Clock())
    assert registry.refs() == registry.verify() == {}
    assert registry.moves() == ()
    assert not registry.path.exists()


def test_what_a_dead_process_left_is_swept_after_an_hour(registry):
    """Younger files may belong to a process that is still writing."""
    registry.put(FILES)
    left = [registry.path / "tmp" / name for name in ("old", "young")]
    for place, age in zip(left, (7200, 60), strict=True):
        place.write_bytes(b"half")
        os.utime(place, (registry._clock.wall() - age,) * 2)
    registry.put({"n": b"1"})
    assert [item.name for item in (registry.path / "tmp").iterdir()] == ["young"]


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path):
    """The message has the path and what to do, and the cause is the system's error."""
    (tmp_path / "file").write_text("in the way")
    registry = Registry(tmp_path / "file" / "registry", clock=Clock())
    with pytest.raises(SnapshotError, match="write another path") as caught:
        registry.put(FILES)
    assert isinstance(caught.value.__cause__, OSError)


def test_threads_put_and_activate_at_once(registry):
    """Nothing is lost, and what is live is one of those that were asked for."""
    digests = []

    def work(n: int) -> None:
        for m in range(5):
            files = {"n": b"%d" % (n % 2), "m": b"%d" % m, "same": b"same"}
            digests.append(registry.put(files, version=f"{n % 2}-{m}"))
            registry.activate(digests[-1])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 20
    assert len(set(digests)) == len(registry.refs()) == 10
    assert registry.active() in digests
    assert registry.verify() == {}


@pytest.fixture
def hook(registry):
    manager = pluggy.PluginManager("legion")
    manager.add_hookspecs(hookspecs)
    manager.register(registry)
    manager.check_pending()
    return manager.hook


def test_it_owns_its_target_and_no_other(registry, hook):
    """Activation by hook is idempotent, read back, and undone by the old digest."""
    old, new = registry.put({"n": b"1"}), registry.put({"n": b"2"})
    mine = "registry:default"
    for digest in (old, new, new, old, ""):
        assert hook.legion_activate(target=mine, digest=digest) is True
        assert hook.legion_active(target=mine) == digest
    for other in ("registry:else", "rollout:default", ""):
        assert hook.legion_activate(target=other, digest=new) is None
        assert hook.legion_active(target=other) is None
    assert registry.active() == ""


def test_a_refused_activation_leaves_things_as_they_were(registry, hook, caplog):
    """A damaged or unknown digest is False, with the traceback in the log."""
    good, bad = registry.put({"n": b"1"}), registry.put({"n": b"2"})
    registry.activate(good)
    flip(place(registry, b"2"))
    with caplog.at_level(logging.WARNING, "legion"):
        for digest in (bad, "0" * 64):
            answer = hook.legion_activate(target="registry:default", digest=digest)
            assert answer is False
    assert registry.active() == good
    assert "SnapshotCorruptError" in caplog.text


def test_nothing_stored_is_not_measured(registry, hook):
    """Without a live snapshot or a name there is no evidence, so no figure."""
    assert hook.legion_observe(plan="p", arm=Arm.CONTROL) == []
    registry.put(FILES)
    assert hook.legion_observe(plan="p", arm=Arm.CONTROL) == []


def observe(registry: Registry) -> list:
    return [registry.legion_observe("p", arm)["registry_integrity"] for arm in Arm]


def test_damage_is_counted_for_both_arms_at_each_check_until_it_is_mended(registry):
    """Two damaged objects of a named snapshot: two, again and again, then none."""
    registry.put(FILES, version="1")
    registry.activate(registry.put({"n": b"live"}))
    assert observe(registry) == [Count(0)] * 2
    flip(place(registry, b"alpha"))
    place(registry, b"hello").unlink()
    for _ in range(3):
        assert observe(registry) == [Count(2)] * 2
    registry.put(FILES)
    assert observe(registry) == [Count(0)] * 2
    flip(place(registry, b"live"))
    assert observe(registry) == [Count(1)] * 2


def test_a_damaged_manifest_is_counted(registry):
    """Without it nobody can tell what belongs to the snapshot."""
    digest = registry.put(FILES, version="1")
    flip(registry.path / "snapshots" / digest[:2] / digest[2:])
    assert observe(registry) == [Count(1)] * 2


def test_both_arms_of_a_check_cost_one_hashing(registry, monkeypatch):
    """The second arm gets the first one's figure; the next check hashes again."""
    registry.put(FILES, version="1")
    looked = []
    found = type(registry._objects).found

    def counting(objects, digest):
        looked.append(digest)
        return found(objects, digest)

    monkeypatch.setattr(type(registry._objects), "found", counting)
    observe(registry)
    once = len(looked)
    observe(registry)
    assert (once, len(looked)) == (4, 8)
    registry.legion_observe("p", Arm.CANDIDATE)
    registry.legion_observe("p", Arm.CANDIDATE)
    assert len(looked) == 16


def test_of_many_bytes_a_part_is_hashed_each_time_and_all_in_turn(tmp_path):
    """The cost of a check is bounded; damage is found within a round and then kept."""
    registry = Registry(tmp_path / "registry", clock=Clock(), check_bytes=250)
    files = {f"{n}": bytes([n]) * 100 for n in range(10)}
    registry.put(files, version="1")
    for data in (files["3"], files["8"]):
        flip(place(registry, data))
    counts = [observe(registry)[0].n for _ in range(10)]
    assert counts == sorted(counts)
    assert counts[5:] == [2] * 5
    registry.put(files)
    assert observe(registry) == [Count(0)] * 2


def test_a_snapshot_larger_than_the_budget_is_checked_all_the_same(tmp_path):
    """One object a time is always looked at."""
    registry = Registry(tmp_path / "registry", clock=Clock(), check_bytes=1)
    registry.put({"big": b"x" * 1000}, version="1")
    flip(place(registry, b"x" * 1000))
    assert observe(registry) == [Count(1)] * 2


def test_it_is_one_of_its_kind():
    """Plugins are compared by identity, so two on one folder are two."""
    one, two = (Registry("nowhere", clock=Clock()) for _ in range(2))
    assert one != two
    assert len({one, two}) == 2


def test_the_log_of_moves_is_one_json_object_a_line(registry):
    """Other tools can read it."""
    registry.put(FILES, version="1")
    [line] = (registry.path / "reflog").read_text().splitlines()
    assert sorted(json.loads(line)) == ["after", "at", "before", "detail", "ref"]
