import shutil
import subprocess
from pathlib import Path

import jobs
import numpy as np
import pytest
from PIL import Image
from repository import REPOSITORY

from ganlab.data.make.pack import pack

SERVER = REPOSITORY / "tests" / "shard_server.sh"
LUA = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


@pytest.fixture(scope="session")
def shared(shared):
    """Real images, where there are any beside the project."""
    return shared / "data"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of 3 classes x 8 PNGs of noise, 20 x 14 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir()
        for i in range(8):
            Image.fromarray(draw.integers(0, 256, (14, 20, 3), np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def _packed(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    pack(photos, folder, size=8, shard_samples=10)
    return folder


@pytest.fixture
def packed(_packed, tmp_path):
    """The photos in shards of 10, 10 and 4, for a test to damage."""
    return Path(shutil.copytree(_packed, tmp_path / "packed"))


@pytest.fixture
def pixels():
    """Six images of noise."""
    return np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), np.uint8)


@pytest.fixture
def flip():
    """Flip one bit of a file."""

    def flip(path, byte, bit=0):
        data = bytearray(path.read_bytes())
        data[byte] ^= 1 << bit
        path.write_bytes(data)

    return flip


@pytest.fixture(scope="module")
def server(root, tmp_path_factory):
    """A web server's address, below which a module's folder `root` is served with faults, and its log of requests."""
    if not (shutil.which("nginx") and LUA.exists()):
        pytest.skip("nginx with its Lua module is absent: apt-get install nginx-extras")
    state, port = tmp_path_factory.mktemp("nginx"), jobs.free_ports(1)
    subprocess.run([SERVER, "up", root, str(port), state], check=True)
    yield f"http://127.0.0.1:{port}", state / "access.log"
    subprocess.run([SERVER, "down", state], check=True)


@pytest.fixture
def bucket(monkeypatch):
    """An object store that speaks S3's protocol, as s3fs sees it, with an empty `bucket`."""
    import s3fs  # these two take seconds
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer(port=jobs.free_ports(1), verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)  # all servers of a process are one
    server.stop()
