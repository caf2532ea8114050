"""What keeps processes apart, where the kernel refuses locks as a mount of NFS without them does, and on full disks."""

import ctypes
import errno
import fcntl
import os
import platform
import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from web import serve

from ganlab import locks
from ganlab.data.make.pack import pack
from ganlab.data.read.dataset import ShardDataset
from ganlab.data.read.store import lock_of
from ganlab.evaluation.store import Store
from ganlab.experiment.folder import locked
from ganlab.locks import has_locks, held, plain
from ganlab.types import UserError

NUMBERS = {"x86_64": 73, "aarch64": 32}
"""The number of flock among the system calls."""
SECCOMP, FILTER, NO_NEW_PRIVILEGES = 22, 2, 38
"""Of prctl."""
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ERROR, ALLOW = 0x00050000, 0x7FFF0000


def refuse_locks(error):
    """Make the kernel answer every flock of this thread, and of those that it starts, with an error."""
    flock = NUMBERS.get(platform.machine(), -1)
    steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, flock), (RETURN, 0, 0, ERROR | error), (RETURN, 0, 0, ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBi", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.prctl(SECCOMP, FILTER, program)
    with tempfile.TemporaryFile() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
        except OSError as found:
            if found.errno == error:
                return
    pytest.skip("this kernel does not let a thread refuse its own locks")


@pytest.fixture(params=[None, errno.ENOLCK, errno.ENOSYS], ids=["locks", "NFS without locks", "FUSE without locks"])
def there(request):
    """Runs a function as on a file system with or without locks."""
    if request.param is None:
        return lambda work: work()

    def run(work):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(refuse_locks, request.param).result()
            return pool.submit(work).result()

    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "a.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), np.uint8))
    return path


def test_a_run_and_a_pack_keep_others_out_and_leave_no_lock(there, source, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.05)

    def twice():
        with locked(tmp_path / "run"), pytest.raises(UserError, match=r"run: in use by process \d+ on .*; wait until"):
            locked(tmp_path / "run").__enter__()
        dest = tmp_path / "packed"
        dest.mkdir()
        with (
            held(dest / "pack.lock", "x", "y"),
            pytest.raises(UserError, match=r"packed: in use by process \d+ on .*; wait until that `ganlab data pack`"),
        ):
            pack(source, dest, size=16)
        pack(source, dest, size=16, shard_samples=8)

    there(twice)
    assert not list(tmp_path.rglob("*lock"))


def test_a_shard_is_downloaded_once_and_a_killed_download_goes_on(there, source, tmp_path):
    whole = pack(source, tmp_path / "web", size=16, shard_samples=8)
    bodies = [(tmp_path / "web" / shard.name).read_bytes() for shard in whole.shards]

    def read():
        with serve(tmp_path / "web") as address:
            one, two = (
                ShardDataset(f"http://{address}/", cache=tmp_path / "cache", cache_bytes=10**7) for _ in range(2)
            )
            gone = os.fork()
            if gone == 0:  # a process that is killed in a download: the lock of no living one, and half a part
                part = one.store.folder / f"{whole.shards[0].name}.{whole.shards[0].bytes}.part"
                try:
                    part.write_bytes(bodies[0][:1000])
                    plain(lock_of(part)).acquire()
                finally:
                    os._exit(0)
            os.waitpid(gone, 0)
            with ThreadPoolExecutor(8) as pool:
                jobs = [
                    pool.submit(dataset.store.read, shard, 0, 10**7)
                    for shard in range(3)
                    for dataset in (one, two, one, two)
                ]
                found = [job.result(timeout=20) for job in jobs]
            one.close(), two.close()
        return found

    assert there(read) == [body for body in bodies for _ in range(4)]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".lock", ".part")]


def test_jobs_that_measure_the_same_images_delete_no_file_in_use(there, tmp_path, monkeypatch):
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path))

    first, second = (Store("x", {}, 64, lambda start: {"features": torch.eye(64)[:, :3] + start}) for _ in range(2))

    def measure():
        first.fill()
        first.moments(torch.device("cpu"), keep=False)
        second.hold()
        first.close()
        in_use = first.chunks[0].exists()
        second.close()
        first.hold()
        first.close()
        return in_use, first.chunks[0].exists(), has_locks(tmp_path)

    in_use, is_left, locks_work = there(measure)
    assert in_use and is_left == (not locks_work)  # without locks nobody deletes anything
    assert first.total.exists()


def test_a_full_disk(small_disk, source, tmp_path, monkeypatch):
    disk = small_disk("40k")
    (disk / "others").write_bytes(bytes(40 * 1024))
    with pytest.raises(UserError, match=r"run: cannot write there: No space left on device; name another folder"):
        locked(disk / "run").__enter__()
    with pytest.raises(UserError, match=r"packed: cannot be written \(No space left on device\); make room there"):
        pack(source, disk / "packed", size=16)
    monkeypatch.setenv("GANLAB_CACHE", str(disk))
    store = Store("x", {}, 64, lambda start: {"features": torch.eye(64)})
    with pytest.raises(OSError, match="No space left on device"):  # of which the command line makes a message
        store.fill()
    store.close()
    pack(source, tmp_path / "web", size=16, shard_samples=8)
    with serve(tmp_path / "web") as address, pytest.raises(UserError, match=r"No space left on device; name another f"):
        ShardDataset(f"http://{address}/", cache=disk, cache_bytes=10**7)
    (disk / "others").unlink()
    store.fill()
    with locked(disk / "run"):
        assert (disk / "run" / "lock").read_bytes()
