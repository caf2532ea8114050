"""Who holds a lock, who is gone, and what that takes where the kernel's locks do not reach."""

import errno
import os
import re
import socket
import threading
import time

import pytest

from ganlab import locks
from ganlab.locks import Holder, held
from ganlab.types import UserError

REMEDY = "wait"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.05)
    return tmp_path / "lock"


@pytest.fixture(params=["with the kernel's locks", "without"])
def anywhere(request, monkeypatch):
    if request.param == "without":

        def flock(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(locks.fcntl, "flock", flock)


def left_behind(file, **facts):
    """Write what a holder that was killed left in the file."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    locks.write(descriptor, Holder(**facts))
    return descriptor


def test_the_second_is_refused_and_told_who_holds_it_until_that_one_ends(file, anywhere):
    for _ in range(2):
        with held(file, "runs/a", REMEDY):
            with pytest.raises(UserError) as error, held(file, "runs/a", REMEDY):
                pass
            who = rf"process {os.getpid()} on {socket.gethostname()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
            assert re.fullmatch(rf"runs/a: in use by {who}; wait", str(error.value))
        assert not file.exists()


def test_a_killed_holder_of_this_host_is_replaced_at_once(file, anywhere, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 100.0)
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    os.close(left_behind(file, pid=gone))
    with held(file, "runs/a", REMEDY):
        assert locks.read(file).pid == os.getpid()


@pytest.mark.parametrize("alive", [True, False])
def test_a_holder_on_another_host_lives_as_long_as_it_counts(file, anywhere, alive, caplog):
    descriptor, stop = left_behind(file, host="node7", pid=1), threading.Event()
    other = locks.read(file)
    counting = threading.Thread(target=locks.beat, args=(descriptor, other, stop))
    if alive:
        counting.start()
    start = time.monotonic()
    try:
        with held(file, "runs/a", REMEDY):
            assert not alive and locks.LOST * locks.BEAT <= time.monotonic() - start < 10
            assert locks.read(file).host == socket.gethostname()
    except UserError as error:
        assert alive and "in use by process 1 on node7 since" in str(error)
    finally:
        stop.set()
    assert "waiting up to 0 s for a sign of life" in caplog.text


@pytest.mark.parametrize("text", [b"", b"{", b'{"pid": 1, "host": "x", "more": 1}', b"\xff"])
def test_a_file_that_names_nobody_holds_nothing(file, text):
    file.write_bytes(text)
    with held(file, "runs/a", REMEDY):
        assert locks.read(file).pid == os.getpid()


def test_a_place_that_cannot_be_written_is_the_systems_error(tmp_path):
    with pytest.raises(FileNotFoundError), held(tmp_path / "none" / "lock", "runs/a", REMEDY):
        pass
