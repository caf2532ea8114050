"""An index of shards that another program wrote and that lie elsewhere: the local one, from their headers alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
import tiny_runs as runs
from launched.streamed import SAMPLES, WINDOW, opened, stream
from made import encoded
from webdataset import TarWriter

from ganlab.data import ShardDataset
from ganlab.data.make.foreign import index
from ganlab.data.read.retries import Patience
from ganlab.types import UserError

NAMES, SIZE = "part-{0..2}.tar", 16
PATIENCE = Patience(answer=1.0, total=3.0, pause=0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder that is served; `theirs` in it holds three shards, each of 16 PNGs of 200 kB with names of classes."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "theirs").mkdir()
    draw = np.random.default_rng(0)
    for first in range(0, SAMPLES, 16):
        with TarWriter(str(folder / "theirs" / f"part-{first // 16}.tar")) as tar:
            for i in range(first, first + 16):
                png = encoded(draw.integers(0, 256, (256, 260, 3), np.uint8), compress_level=1)
                tar.write({"__key__": f"{i:03d}", "png": png, "json": {"species": ["cow", "ape"][i % 2]}})
    return folder


@pytest.fixture(scope="module")
def local(root, tmp_path_factory):
    """The index of the same shards where they lie, and the stream of images."""
    folder = tmp_path_factory.mktemp("local")
    found = index(str(root / "theirs"), folder, size=SIZE, labels="species")
    return found, stream(ShardDataset(folder, window=WINDOW))


def assert_alike(found, local):
    """Only the checksums are not known: they would take the whole shards."""
    assert (found.image, found.class_names, found.resize) == (local.image, local.class_names, True)
    for ours, theirs in zip(found.shards, local.shards, strict=True):
        assert (ours.name, ours.bytes, ours.samples, ours.sha256) == (theirs.name, theirs.bytes, theirs.samples, "")
    for name in ("offset", "size", "label"):
        assert found.samples[name].tolist() == local.samples[name].tolist()


@pytest.fixture
def asked(server, root, request):
    """A name of its own for the folder, for this test's faults and requests alone; and what has been asked of it."""
    name = re.sub(r"\W+", "-", request.node.name)
    (root / name).symlink_to(root / "theirs")
    pattern = re.compile(rf"GET \S*/{name}/(\S+) bytes=(\d+)-(\d+)$", re.MULTILINE)
    return name, lambda: pattern.findall(server[1].read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "query", "again"), [("plain", "", 0), ("busy", "?p=0.5", 1), ("cut", "?bytes=20000&times=4", 9)]
)
def test_headers_from_a_web_server(server, asked, local, tmp_path, fault, query, again):
    """Nothing is asked for twice but for a fault; of the first four requests to a shard, one is for its size."""
    name, requests = asked
    url = f"{server[0]}/{fault}/{name}/{NAMES}{query}"
    found = index(url, tmp_path / "index", size=SIZE, labels="species", patience=PATIENCE)
    assert_alike(found, local[0])
    different = set(requests())
    repeated = len(requests()) - len(different)
    assert repeated == again if fault != "busy" else repeated >= again
    size = sum(int(stop) - int(start) + 1 for _, start, stop in different)
    assert size < 0.4 * sum(shard.bytes for shard in found.shards)
    dataset = opened(str(tmp_path / "index"), tmp_path / "cache")
    assert stream(dataset) == local[1]
    dataset.close()


@pytest.mark.parametrize(
    ("fault", "query", "message"),
    [
        ("whole", "", r"part-\d\.tar: the server sends no ranges; download the shards, and index their folder"),
        ("busy", "?p=1", r"part-\d\.tar: HTTPError: HTTP Error 503.*given up after \d+ attempts"),
        ("stall", "", r"part-\d\.tar: TimeoutError: .*given up after \d+ attempts"),
        ("locked", "", r"part-\d\.tar: HTTP 403 Forbidden; not tried again"),
    ],
)
def test_what_a_web_server_will_not_give(server, asked, tmp_path, fault, query, message):
    url, patience = f"{server[0]}/{fault}/{asked[0]}/{NAMES}{query}", replace(PATIENCE, answer=0.3, total=0.6)
    with pytest.raises(UserError, match=message):
        index(url, tmp_path / "index", size=SIZE, patience=patience)
    assert not (tmp_path / "index").exists()


@pytest.mark.slow
def test_training_on_the_folder_of_an_index(server, local, tmp_path, monkeypatch):
    """As the README says: the index in a folder here, data.url that folder, the shards elsewhere."""
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    url, folder = f"{server[0]}/plain/theirs/{NAMES}", tmp_path / "index"
    assert runs.ganlab("data", "index", url, "--out", folder, "--size", SIZE, "--labels", "species").exit_code == 0
    checked = runs.ganlab("data", "check", folder)
    assert checked.exit_code == 0 and "48 images" in checked.output and "no problems" in checked.output
    runs.done(runs.write_config(tmp_path, folder), f"run={tmp_path / 'run'}", "train.total_nimg=48")
    assert len(list((tmp_path / "cache").rglob("part-*.tar"))) == 3


@pytest.mark.slow
def test_headers_from_an_object_store(root, local, tmp_path, bucket):
    bucket.put(f"{root / 'theirs'}/", "bucket/theirs/", recursive=True)
    found = index("s3://bucket/theirs", tmp_path / "index", size=SIZE, labels="species", patience=PATIENCE)
    assert_alike(found, local[0])
    dataset = opened(str(tmp_path / "index"), tmp_path / "cache")
    assert stream(dataset) == local[1]
    dataset.close()
    with pytest.raises(UserError, match=r"s3://bucket/none/: FileNotFoundError: .*not tried again"):
        index("s3://bucket/none", tmp_path / "none", size=SIZE, patience=PATIENCE)
