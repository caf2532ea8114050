import pytest
import tiny_runs as runs

from ganlab.data import ShardDataset
from ganlab.data.read.location import Location, parse, redact
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
    signed, names = parse("https://me:key@h.org/a/x-{0..1}.tar?sig=abc")
    assert names == ("x-0.tar", "x-1.tar")
    assert signed.url("x-0.tar") == "https://me:key@h.org/a/x-0.tar?sig=abc"
    assert str(signed) == "https://h.org/a/"
    assert parse("http://h.org/a?sig=abc")[0].url("index.json") == "http://h.org/a/index.json?sig=abc"


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
