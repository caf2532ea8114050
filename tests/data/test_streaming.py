"""Shards from a real web server and a real object store, with faults: the local stream, or the one named error."""

import hashlib
import multiprocessing
import os
import re
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor

import jobs
import numpy as np
import pytest
from launched import streamed
from launched.streamed import SAMPLES, WINDOW, opened, stream
from repository import REPOSITORY

from ganlab.data import ShardDataset
from ganlab.data.make.foreign import index
from ganlab.data.make.pack import pack
from ganlab.data.read.order import Order
from ganlab.types import UserError

SHARDS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder that is served; `data` in it holds six shards of 100 kB."""
    folder = tmp_path_factory.mktemp("root")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (SAMPLES, 64, 64, 3), np.uint8)
    np.savez(folder / "noise.npz", images=images, labels=np.arange(SAMPLES) % 7)
    pack(folder / "noise.npz", folder / "data", size=64, shard_samples=SAMPLES // SHARDS)
    return folder


@pytest.fixture
def served(server, root, request, tmp_path):
    """A name of its own for the shards, so that their faults and requests are this test's; and how to open them."""
    name = re.sub(r"\W+", "-", request.node.name)
    (root / name).symlink_to(root / "data")
    datasets = []

    def open_at(fault, query="", cache=tmp_path / "cache", **options):
        datasets.append(opened(url(fault, query), cache, **options))
        return datasets[-1]

    def url(fault, query=""):
        return f"{server[0]}/{fault}/{name}/{query}"

    open_at.url = url

    open_at.requests = lambda: [line for line in server[1].read_text().splitlines() if f"/{name}/shard-" in line]
    yield open_at
    for dataset in datasets:
        dataset.close()


@pytest.fixture(scope="module")
def local(root):
    return stream(ShardDataset(root / "data", window=WINDOW))


def left_over(cache):
    """What an interrupted download, or one under way, would leave."""
    return [path.name for path in cache.rglob("*") if path.suffix in (".part", ".incoming", ".tmp")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "query"),
    [
        ("plain", ""),
        ("whole", ""),
        ("slow", ""),
        ("busy", "?p=0.6"),
        ("cut", "?bytes=40000&times=2"),
        ("cut", "?bytes=40000"),
        ("cutwhole", "?bytes=40000&times=2"),
        ("stall", ""),
        ("trickle", ""),
        ("stallwhole", "?times=1"),
        ("flip", "?at=50000&times=1"),
    ],
)
def test_a_fault_that_passes_changes_nothing(served, local, tmp_path, fault, query):
    dataset = served(fault, query)
    assert stream(dataset, threads=3) == local
    assert dataset.faults.all() == [] and left_over(tmp_path / "cache") == []
    resumed = sum(not line.endswith(" -") for line in served.requests())
    assert (resumed > 0) == (fault in ("cut", "cutwhole", "stall", "stallwhole", "trickle"))
    if fault in ("plain", "whole", "slow"):
        assert len(served.requests()) == SHARDS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "query", "message"),
    [
        ("flip", "?at=50000", r"shard-00000\d\.tar: damaged: its sha256 is {sha}, the index says {sha}, after 3"),
        ("stallwhole", "", r"shard-00000\d\.tar: TimeoutError: .*given up after \d+ attempts without news"),
        ("busy", "?p=1", r"shard-00000\d\.tar: HTTPError: HTTP Error 503.*given up after \d+ attempts"),
        ("cutwhole", "?bytes=40000", r"shard-00000\d\.tar: .*given up after \d+ attempts"),
    ],
)
def test_a_fault_that_stays_is_the_one_named_error(served, tmp_path, fault, query, message, caplog):
    dataset = served(fault, query)
    with pytest.raises(UserError, match=message.replace("{sha}", "[0-9a-f]{64}")) as error:
        stream(dataset)
    assert "?" not in str(error.value).split("; is the source")[0]
    dataset.close()
    jobs.wait_for("the other downloads have stopped", lambda: dataset.store.fetching == 0)
    assert left_over(tmp_path / "cache") == []
    if fault == "busy":  # a person is not left waiting without a word
        assert re.search(r"shard-00000\d\.tar: HTTPError: .*; trying again, for \d+ s without news", caplog.text)


@pytest.mark.parametrize("more", [b"", b"of another file"])
def test_a_download_of_an_index_that_was_killed_before_its_rename(served, root, local, tmp_path, more):
    """All of its bytes are there, or more than there are: the server has none from there on, and says 416."""
    text, samples = ((root / "data" / name).read_bytes() for name in ("index.json", "samples.npy"))
    folder = tmp_path / "cache" / hashlib.sha256(text).hexdigest()[:16]
    folder.mkdir(parents=True)
    (folder / "samples.npy.incoming").write_bytes(samples + more)
    dataset = served("plain")
    assert (folder / "samples.npy").read_bytes() == samples
    assert stream(dataset) == local and left_over(tmp_path / "cache") == []


def test_what_is_refused_or_absent_is_asked_for_once(server, root, served, tmp_path):
    with pytest.raises(UserError, match=r"index\.json: HTTP 403 Forbidden; not tried again; .* `ganlab data index"):
        served("locked")
    dataset = served("plain")
    (root / "lost").mkdir()
    for file in (root / "data").iterdir():
        if file.name != "shard-000004.tar":
            (root / "lost" / file.name).symlink_to(file)
    dataset = opened(f"{server[0]}/plain/lost", tmp_path / "other")
    with pytest.raises(UserError, match=r"plain/lost/shard-000004\.tar: HTTP 404 Not Found; not tried again"):
        stream(dataset)
    dataset.close()
    asked = [line for line in server[1].read_text().splitlines() if "/lost/shard-000004" in line]
    assert len(asked) == 1


def test_a_cache_is_used_again_and_a_damaged_file_in_it_fetched_anew(served, local, tmp_path):
    stream(served("plain"))
    cached = sorted((tmp_path / "cache").rglob("*.tar"))
    assert [path.stat().st_size for path in cached] == [shard.bytes for shard in served("plain").index.shards]
    before = len(served.requests())
    cached[2].write_bytes(cached[2].read_bytes()[:1000])  # as after a loss of power
    assert stream(served("plain")) == local
    assert len(served.requests()) == before + 1


def test_some_of_the_shards_are_a_dataset(server, root):
    dataset = ShardDataset(root / "data")
    some = ShardDataset(f"file://{root}/data/shard-{{000002..000004}}.tar")
    ends = ShardDataset(f"{root}/data/shard-000005.tar,{root}/data/shard-000000.tar")
    assert len(some) == 24 and len(ends) == 16 and len({d.index.fingerprint for d in (dataset, some, ends)}) == 3
    images = np.empty((SAMPLES, 64, 64, 3), np.uint8)
    labels = [dataset.read(i, images[i]) for i in range(SAMPLES)]
    out = np.empty((64, 64, 3), np.uint8)
    for i in range(24):
        assert some.read(i, out) == labels[16 + i] and (out == images[16 + i]).all()
    for i in range(16):
        assert ends.read(i, out) == labels[(40 + i) % 48] and (out == images[(40 + i) % 48]).all()
    with pytest.raises(UserError, match=r"has no shard-000006\.tar, .*shard-000009\.tar; 6 others"):
        ShardDataset(f"{root}/data/shard-00000{{5..9}}.tar")


@pytest.fixture(scope="module")
def processes():
    """Where processes come from that share nothing with this one, and need not import anything again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["launched.streamed"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}")
        context.Process(target=str).start()  # and with it the process that all others come from
    return context


@pytest.mark.multi
@pytest.mark.parametrize(("fault", "query"), [("plain", ""), ("cut", "?bytes=60000&times=1")])
def test_four_processes_ask_for_each_shard_once(served, local, processes, tmp_path, fault, query):
    with ProcessPoolExecutor(4, mp_context=processes) as pool:
        results = [pool.submit(streamed.open_and_stream, served.url(fault, query), tmp_path) for _ in range(4)]
        assert [result.result() for result in results] == [local] * 4
    whole = [line for line in served.requests() if line.endswith(" -")]
    assert len(whole) == len(set(whole)) == SHARDS
    assert len(served.requests()) == (2 * SHARDS if fault == "cut" else SHARDS)


@pytest.mark.multi
def test_a_process_killed_while_it_downloads_leaves_the_others_its_bytes(served, local, processes, tmp_path):
    def parts():
        return [path for path in tmp_path.rglob("*.part") if path.stat().st_size > 20_000]

    arguments = (served.url("slow"), tmp_path)
    victim = processes.Process(target=streamed.open_and_stream, args=arguments)
    victim.start()
    with ProcessPoolExecutor(2, mp_context=processes) as pool:
        others = [pool.submit(streamed.open_and_stream, *arguments) for _ in range(2)]
        jobs.wait_for("a download is under way", parts)
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        assert [other.result() for other in others] == [local] * 2
    assert len([line for line in served.requests() if line.endswith(" -")]) >= SHARDS
    assert left_over(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_any_ranks_and_threads_go_on_at_any_position(served, root, world_size):
    whole, remote = ShardDataset(root / "data", window=WINDOW), served("plain")
    for start in (0, 8, 56, 1000):
        for threads in (1, 4):
            expected = [stream(whole, 8, start=start + 8 * k) for k in range(3)]
            found = [stream(remote, 8, start=start + 8 * k, world_size=world_size, threads=threads) for k in range(3)]
            assert found == expected


def test_a_dataset_larger_than_its_cache(served, local, root, tmp_path):
    size = max(path.stat().st_size for path in (root / "data").glob("*.tar"))
    held = []

    def watched(dataset):
        evict = dataset.store._evict

        def look(keep, limit):
            removed = evict(keep, limit)
            held.append(sum(size for _, size, _ in dataset.store._held()))
            return removed

        dataset.store._evict = look
        return dataset

    dataset = watched(served("plain", cache_bytes=3 * size))
    assert stream(dataset) == local
    assert max(held) <= 3 * size and len(served.requests()) >= 2 * SHARDS - 3
    assert stream(served("plain", cache=tmp_path / "two", cache_bytes=2 * size, window=1)) != local
    with pytest.raises(
        UserError, match=r"data\.cache: .* 2 shards that are read at once and the next one take"
    ) as error:
        served("plain", cache=tmp_path / "small", cache_bytes=2 * size)
    assert "data.window below 2" in str(error.value)
    assert not list((tmp_path / "small").rglob("*.tar"))


def test_prefetch_is_of_exactly_the_next_shards(served):
    dataset = served("plain", cache_bytes=10**9)
    order = Order([8] * SHARDS, 1, WINDOW)
    coming = order.upcoming(0)
    expected = [next(coming) for _ in range(SHARDS)]
    dataset.store.limit, dataset.store.ahead = 10**9, 4
    dataset.store.expect(order.upcoming(0))
    jobs.wait_for("four are there", lambda: len(list(dataset.store.folder.glob("*.tar"))) == 4)
    found = {int(path.stem[-6:]) for path in dataset.store.folder.glob("*.tar")}
    assert found == set(expected[:4])


def test_a_cache_folder_that_cannot_be_written(served, tmp_path):
    with pytest.raises(UserError, match=r"/proc/none/.*name another folder in data\.cache\.folder"):
        served("plain", cache="/proc/none")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/.*: Not a directory; name another folder"):
        served("plain", cache=tmp_path / "file")


def test_a_full_disk(served, local, small_disk):
    disk = small_disk("420k")  # room for four shards
    with pytest.raises(UserError, match=r"of which the disk has \d{3},\d{3}, but the 6 shards"):
        served("plain", cache=disk, window=6)
    dataset = served("plain", cache=disk)
    (disk / "others").write_bytes(bytes(10_000))  # another program takes what was free a moment ago
    assert stream(dataset) == local
    dataset.close()
    shutil.rmtree(dataset.store.folder)
    dataset = served("plain", cache=disk)
    (disk / "others").write_bytes(bytes(350_000))
    with pytest.raises(UserError, match=r"\.part: No space left on device; name another folder"):
        stream(dataset)
    dataset.close()
    jobs.wait_for("the other downloads have stopped", lambda: dataset.store.fetching == 0)
    assert left_over(disk) == []


def test_an_index_of_another_dataset_is_refused(server, root, tmp_path, local):
    for name in ("mixed", "swapped"):
        shutil.copytree(root / "data", root / name)
    pack(root / "noise.npz", root / "other", size=64, shard_samples=SAMPLES // SHARDS, seed=1)
    shutil.copy(root / "other" / "samples.npy", root / "mixed")
    shutil.copy(root / "other" / "shard-000003.tar", root / "swapped")
    with pytest.raises(UserError, match=r"mixed/samples\.npy: damaged: its sha256 is .* after 3 downloads"):
        opened(f"{server[0]}/plain/mixed", tmp_path)
    dataset = opened(f"{server[0]}/plain/swapped", tmp_path)
    with pytest.raises(UserError, match=r"swapped/shard-000003\.tar: (damaged|longer|HTTP 416)"):
        stream(dataset)
    dataset.close()


def test_an_index_that_leads_to_this_machine_is_refused(server, root, tmp_path):
    index(str(root / "data"), root / "leads", size=64)  # as it is uploaded by mistake
    with pytest.raises(UserError, match=r"leads/index\.json: leads to another place; download the index"):
        opened(f"{server[0]}/plain/leads", tmp_path)


@pytest.mark.slow
def test_an_object_store(root, local, tmp_path, bucket):
    bucket.put(f"{root / 'data'}/", "bucket/faces/", recursive=True)
    dataset = opened("s3://bucket/faces", tmp_path)
    assert stream(dataset) == local
    some = opened("s3://bucket/faces/shard-{000001..000002}.tar", tmp_path)
    assert len(some) == 16
    with pytest.raises(UserError, match=r"s3://bucket/none/index\.json: FileNotFoundError: .*not tried again"):
        opened("s3://bucket/none", tmp_path)
    bucket.rm("bucket/faces/shard-000005.tar")
    shutil.rmtree(dataset.store.folder)
    with pytest.raises(UserError, match=r"s3://bucket/faces/shard-000005\.tar: FileNotFoundError"):
        stream(opened("s3://bucket/faces", tmp_path))
