"""What a cache's file survives: disks that fail, threads, paths that move, other users."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import uuid
import zlib

import numpy as np
import pytest

from legion import SemanticCache
from legion.cache import file
from legion.exceptions import StateError


def embed(texts):
    """Independent vectors, the same for the same text in every process."""
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.stack([np.random.default_rng(s).standard_normal(16) for s in seeds])


def opened(path, **more):
    return SemanticCache(embed, path=path, **more)


def disk_of(cache):
    return cache._shelf.disk


def after_a_kill(path, **more):
    """Open a copy of the file, as somebody finds it when the process is no more."""
    copy = path.with_name(f"copy-{uuid.uuid4()}")
    shutil.copyfile(path, copy)
    return opened(copy, **more)


def answers(cache, questions):
    hits = {question: cache.get(question) for question in questions}
    return {question: hit.value for question, hit in hits.items() if hit}


def no_room(*_args, **_more):
    raise OSError(28, "No space left on device")


def folder_fails(real):
    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(5, "Input/output error")
        real(handle)

    return fsync


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.cache"


def test_a_folder_that_cannot_be_synced_costs_no_file(path, monkeypatch):
    """The new file has the name by then; flush says so until the disk has the name."""
    real = os.fsync
    cache = opened(path)
    cache.put("before", 1)
    monkeypatch.setattr(file.os, "fsync", folder_fails(real))
    with pytest.raises(StateError, match="Input/output error"):
        cache.save()
    cache.put("after", 2)
    assert answers(after_a_kill(path), ["before"]) == {"before": 1}
    with pytest.raises(StateError, match="Input/output error"):
        cache.flush()
    monkeypatch.setattr(file.os, "fsync", real)
    cache.save()
    cache.flush()
    wanted = {"before": 1, "after": 2}
    assert answers(cache, wanted) == answers(after_a_kill(path), wanted) == wanted
