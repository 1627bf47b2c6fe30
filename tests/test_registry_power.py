"""
What is on the disk, in which order: nothing has a name before its bytes are synced.

A kill shows what the kernel has, not what a loss of power leaves; so these tests watch
the calls themselves. Each says which line was broken to see it fail.
"""

from __future__ import annotations

import os
import stat

from pathlib import Path

import pytest

from legion.registry import Registry


FILES = {f"prompts/{n}.txt": b"%d" % n * 50 for n in range(5)}


class Disk:
    """Watches fsync, replace and unlink, and tells files apart by their inode."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root, self.events = root, []
        self._fsync, self._replace, self._unlink = os.fsync, os.replace, os.unlink
        patch.setattr(os, "fsync", self.fsync)
        patch.setattr(os, "replace", self.replace)
        patch.setattr(os, "unlink", self.unlink)

    def fsync(self, handle):
        found = os.fstat(handle)
        sort = "folder" if stat.S_ISDIR(found.st_mode) else "file"
        self.events.append((f"sync {sort}", found.st_ino))
        self._fsync(handle)

    def replace(self, old, new, **more):
        self.events.append(("name", self.place(new), Path(old).stat().st_ino))
        self._replace(old, new, **more)

    def unlink(self, path, **more):
        self.events.append(("remove", self.place(path)))
        self._unlink(path, **more)

    def place(self, path):
        return Path(path).relative_to(self.root).as_posix()

    def inode(self, place):
        return (self.root / place).stat().st_ino

    def at(self, *event):
        """Return where *event* is first."""
        return self.events.index(event)

    @property
    def named(self):
        return [event[1] for event in self.events if event[0] == "name"]

    def folder_synced(self, place, *, after, before):
        """Tell whether a folder was synced between two events."""
        return ("sync folder", self.inode(place)) in self.events[after + 1 : before]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path / "registry", monkeypatch)


@pytest.fixture
def registry(disk):
    return Registry(disk.root)


def is_pointer(place):
    return place == "live" or place.startswith(("versions/", "refs/"))


def everything(registry):
    """Use each call that writes."""
    registry.put(FILES, version="1.0.0")
    registry.tag("stable", "1.0.0")
    registry.activate("stable")


def test_a_file_is_synced_before_it_gets_its_name(registry, disk):
    """
    An object, a manifest and a pointer alike.

    Broken to see it fail: ``os.fsync(handle)`` taken out of ``Staging.move``; and that
    loop put behind the one that gives the names.
    """
    everything(registry)

    assert len(disk.named) == 5 + 1 + 3
    for n, event in enumerate(disk.events):
        if event[0] == "name":
            assert ("sync file", event[2]) in disk.events[:n], event[1]


def test_objects_come_before_the_manifest_and_the_pointer_comes_last(registry, disk):
    """
    Whoever finds a pointer finds all that it needs.

    Broken to see it fail: in ``Registry.put`` the version bound to the digest that the
    manifest is going to have, before that is stored.
    """
    everything(registry)
    sorts = [place.split("/")[0] for place in disk.named]

    assert sorts == ["objects"] * 5 + ["snapshots", "versions", "refs", "live"]


def test_folders_are_synced_before_a_pointer_leads_into_them(registry, disk):
    """
    The name of an object, and that of a new folder, must outlive the loss of power.

    Broken to see it fail: ``sync_folders`` taken out of ``Objects.add``; the call given
    ``folders - {self.folder}``, or without the folders of the objects.
    """
    everything(registry)
    pointer = next(n for n, e in enumerate(disk.events) if is_pointer(str(e[1])))
    manifest = next(p for p in disk.named if p.startswith("snapshots/"))

    for place in disk.named[:6]:
        named = next(n for n, e in enumerate(disk.events) if e[:2] == ("name", place))
        until = pointer
        if place != manifest:
            until = next(n for n, e in enumerate(disk.events) if e[1] == manifest)
        folder = Path(place).parent
        assert disk.folder_synced(folder, after=named, before=until), place
        assert disk.folder_synced(folder.parent, after=named, before=until), place


def test_a_pointer_is_written_down_then_named_then_its_folder_is_synced(registry, disk):
    """
    The log of moves first, the folder last; then nothing else.

    Broken to see it fail: ``os.fsync`` taken out of ``Refs._log``; ``_log`` called
    after the pointer was moved; ``sync_folders`` taken out of ``Refs.write``.
    """
    registry.put(FILES, version="1.0.0")
    registry.activate("1.0.0")
    disk.events.clear()

    registry.tag("stable", "1.0.0")
    registry.activate("stable")

    log = disk.at("sync file", disk.inode("reflog"))
    tagged = next(n for n, e in enumerate(disk.events) if e[1] == "refs/stable")
    moved = next(n for n, e in enumerate(disk.events) if e[1] == "live")
    second = disk.events.index(disk.events[log], log + 1)
    assert log < tagged < second < moved
    assert disk.folder_synced("refs", after=tagged, before=second)
    assert disk.folder_synced(".", after=moved, before=None)
    assert {event[0] for event in disk.events[moved + 1 :]} == {"sync folder"}


def test_a_pointer_that_is_taken_away_is_synced_away(registry, disk):
    """
    Back to before the first activation is a move like any.

    Broken to see it fail: ``sync_folders`` in ``Refs.write`` moved into its ``if``.
    """
    registry.put(FILES, version="1.0.0")
    registry.activate("1.0.0")
    disk.events.clear()

    registry.legion_activate(f"registry:{registry.name}", "")

    log = disk.at("sync file", disk.inode("reflog"))
    removed = disk.at("remove", "live")
    assert log < removed
    assert disk.folder_synced(".", after=removed, before=None)


def test_what_is_there_already_has_its_folders_synced_all_the_same(registry, disk):
    """
    Whoever wrote it may have died between the name and the sync.

    Broken to see it fail: ``folders.add`` moved behind the question whether it exists.
    """
    registry.put(FILES, version="1.0.0")
    places = disk.named[:6]
    disk.events.clear()

    registry.put(FILES, version="2.0.0")

    assert disk.named == ["versions/2.0.0"]
    version = next(n for n, e in enumerate(disk.events) if e[1] == "versions/2.0.0")
    for place in places:
        assert disk.folder_synced(Path(place).parent, after=-1, before=version)


def test_the_registrys_own_folders_are_synced_when_they_are_made(registry, disk):
    """
    A registry whose folder is lost has lost everything in it.

    Broken to see it fail: ``sync_folders`` taken out of ``Registry._writing``.
    """
    registry.put({})

    first = next(n for n, e in enumerate(disk.events) if e[0] == "name")
    assert disk.folder_synced(".", after=-1, before=first)
    assert disk.folder_synced("..", after=-1, before=first)
