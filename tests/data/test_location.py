import json

import pytest
import tiny_runs as runs
from web import serve

from ganlab.data import ShardDataset
from ganlab.data.read.location import Location, parse, redact, redact_all
from ganlab.experiment.config import load
from ganlab.types import UserError


@pytest.mark.parametrize(
    ("text", "base", "names"),
    [
        ("data/faces", "data/faces", ()),
        ("file:///data/my%20faces", "/data/my faces", ()),
        ("data/x.tar", "data/", ("x.tar",)),
        ("x-{08..11}.tar", ".", ("x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar")),
        ("d/{a,b}-{0..1}.tar", "d/", ("a-0.tar", "a-1.tar", "b-0.tar", "b-1.tar")),
        ("d/a.tar,d/b-{0..1}.tar", "d/", ("a.tar", "b-0.tar", "b-1.tar")),
    ],
)
def test_folders_and_shards_of_this_machine(text, base, names):
    assert parse(text) == (Location("", base), names)


def test_shards_elsewhere():
    assert parse("https://h.org/faces") == (Location("https", "https://h.org/faces/"), ())
    assert parse("S3://bucket/a/x-{0..1}.tar") == (Location("s3", "s3://bucket/a/"), ("x-0.tar", "x-1.tar"))
    asked, names = parse("https://h.org/a/x-{0..1}.tar?version=2")
    assert names == ("x-0.tar", "x-1.tar")
    assert asked.url("x-0.tar") == "https://h.org/a/x-0.tar?version=2"
    assert str(asked) == "https://h.org/a/"
    assert parse("http://h.org/a?version=2")[0].url("index.json") == "http://h.org/a/index.json?version=2"
    assert parse("abfs://container@account.host/a")[0].url("x") == "abfs://container@account.host/a/x"
    assert parse("sftp://me@h.org/a")[0].url("x") == "sftp://me@h.org/a/x"


def test_a_folder_is_a_folder_whatever_its_name(tmp_path):
    (tmp_path / "{a,b}.tar").mkdir()
    assert parse(f"{tmp_path}/{{a,b}}.tar") == (Location("", f"{tmp_path}/{{a,b}}.tar"), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pipe:cat x.tar", "would run a shell, which data never does; give a folder, or a URL of file, http"),
        ("pipe:curl http://h.org/{0..9}.tar", "would run a shell"),
        ("simplecache::s3://b/x", "cannot be read from"),
        ("gopher://h.org/x", "gopher://h.org/x: cannot be read from"),
        ("data:text/plain,x", "cannot be read from"),
        ("file://elsewhere/x", "cannot be read from"),
        ("https:///x", "cannot be read from"),
        ("x-{0..9.tar", "write a range as {000..009} and a list as {a,b}"),
        ("x-{0..2000000}.tar", "more than 1,000,000 shards"),
        ("d/{a,b}", "d/a: not a .tar; in a range or list, name shards"),
        ("d/a.tar,e/b.tar", "d/ and e/: shards of one dataset lie in one folder"),
        ("d/a.tar,d/a.tar", "names a shard twice"),
    ],
)
def test_what_cannot_be_read_from_is_refused(text, message):
    with pytest.raises(UserError) as error:
        parse(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:SECRET@h.org/faces/",
        "https://SECRET@h.org/faces/",
        "s3://me:SECRET@bucket/faces/",
        "https://h.org/x-{00..09}.tar?X-Amz-Expires=60&X-Amz-Signature=SECRET",
        "https://h.org/x.tar?X-Goog-Signature=SECRET",
        "https://h.org/faces?sv=2024&sig=SECRET",
        "https://h.org/a.tar,https://h.org/b.tar?access_token=SECRET",
        "https://h.org/a.tar?Signature=SECRET&Key-Pair-Id=k",
    ],
)
def test_a_url_with_a_secret_is_refused_wherever_a_dataset_is_opened(url, tmp_path):
    def refused(*words):
        message = runs.refused(*words)
        assert "SECRET" not in message and "which would be saved with the run; leave it out" in message
        assert "~/.netrc" in message and ("h.org" in message or "bucket" in message)

    refused("train", runs.write_config(tmp_path, url), f"run={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()
    for verb in (("check",), ("show",), ("bench",), ("index", "--size", "8", "--out", tmp_path / "index")):
        refused("data", verb[0], url, *verb[1:])
    assert not (tmp_path / "index").exists()


def test_a_secret_in_an_index_is_refused(packed):
    """An earlier ganlab wrote the location as it was given."""
    path = packed / "index.json"
    fields = json.loads(path.read_text())
    del fields["sha256"]
    path.write_text(json.dumps(fields | {"location": "https://me:SECRET@h.org/faces/"}))
    with pytest.raises(
        UserError, match=r"index\.json: location: https://h\.org/faces/: was given with a user"
    ) as error:
        ShardDataset(packed)
    assert "SECRET" not in str(error.value)


def test_a_web_servers_password_comes_from_netrc(packed, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password key\n")
    with serve(packed, user="me:key") as host:
        monkeypatch.setenv("NETRC", str(tmp_path / "absent"))
        with pytest.raises(UserError, match=r"index\.json: HTTP 401 Unauthorized; not tried again"):
            ShardDataset(f"http://{host}/", cache=tmp_path / "cache")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        dataset = ShardDataset(f"http://{host}/", cache=tmp_path / "cache")
        assert len(dataset) == 24 and dataset.store.read(0, 0, 9) == (packed / "shard-000000.tar").read_bytes()[:9]
        dataset.close()


def test_what_others_are_told_of_a_config_is_redacted():
    config = {"data": {"url": "s3://k:s@b/y?a=1", "bad": 1}, "list": ["http://h/z?t=1", ("x", None)]}
    assert redact_all(config) == {"data": {"url": "s3://b/y", "bad": 1}, "list": ["http://h/z", ["x", None]]}


def test_secrets_are_taken_out():
    said = redact("GET https://me:key@h.org/x.tar?sig=abc&b=1 and s3://k@b/y#z failed: 'http://h/z?t=1'")
    assert said == "GET https://h.org/x.tar and s3://b/y failed: 'http://h/z'"


def test_a_list_in_a_config(packed, tmp_path):
    path, shards = runs.write_config(tmp_path, packed), [f"{packed}/shard-000002.tar", f"{packed}/shard-000000.tar"]
    path.write_text(path.read_text().replace(f'"{packed}"', str(shards)))
    config = load(path)
    assert config.data.url == ",".join(shards) and config.run == "runs/packed-tiny"
    assert len(ShardDataset(config.data.url)) == 14
    assert load(path, [f"data.url=[{shards[0]}]"]).data.url == shards[0]
