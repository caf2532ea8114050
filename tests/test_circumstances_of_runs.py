"""What people bring as configs, words on the command line and run folders: taken as meant, or named with what to write.

As in `test_circumstances.py`, no command ends in a traceback.
"""

import os
import shutil
from pathlib import Path

import pytest
import tiny_runs as runs
import yaml
from brought import check, encoded, noise, write
from extractors import Toy, script

from ganlab.data.make.pack import pack
from ganlab.locks import held

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path


BARE = "data: {url: d}\nmodel: {_target_: ganlab.models.DCGAN, width: 4}\ntrain: {total_nimg: 10}\n"
PLAIN = BARE.replace("url: d", "url: d, image: {height: 16, width: 16, channels: 3}")


def show(text: str | bytes, *words: str) -> tuple[int, str]:
    """Write c.yaml and run `ganlab show` on it."""
    Path("c.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    result = runs.ganlab("show", "c.yaml", *words)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("10}", "1_000}"),
        *(PLAIN + more for more in ("machine:\n  # threads: 1\n", "logging:\n", "evaluation:\n", "base:\n", "# end")),
        PLAIN + "logging: {wandb: null}\n",
        PLAIN + "run: 2024-01-01\n",
    ],
)
def test_configs_that_are_read(text):
    assert show(text)[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "model: missing"),
        ("# only\n", "data: missing"),
        ("- a\n- b\n", "a config is a mapping of keys to values"),
        ("42", "a config is a mapping of keys to values"),
        ("just text", "just text: unknown key"),
        ("a: [1\n", "not YAML"),
        (PLAIN.replace("train:", "\ttrain:"), "indent with spaces, not tabs"),
        (PLAIN + "seed: *b\n", "found undefined alias"),
        (PLAIN + "seed: 1\nseed: 2\n", "found duplicate key seed"),
        (PLAIN + "---\nseed: 1\n", "found another document"),
        (PLAIN.encode("utf-16"), "not YAML: 'utf-8' codec"),
        (PLAIN + "base: c.yaml\n", "comes back to itself"),
        (PLAIN + "base: gone.yaml\n", "gone.yaml: No such file"),
        (PLAIN + "base: .\n", "Is a directory"),
        (PLAIN + "run: ${oc.env:HOME}\n", "${...} is not supported"),
        *((PLAIN + f"logging: {{wandb: {text}}}\n", "write online") for text in ("yes", "on", "true", "Online")),
        *((PLAIN + f"logging: {{wandb: {text}}}\n", "write disabled") for text in ("no", "off", "false", "none")),
        (PLAIN + "run: 2024\n", "write it in quotes: '2024'"),
        (PLAIN + "run: no\n", "write it in quotes"),
        (PLAIN.replace("10}", "1e6}"), "write 1_000_000"),
        (PLAIN.replace("10}", "20M}"), "write 20_000_000"),
        (PLAIN.replace("train:", "trian:"), "did you mean 'train'"),
        (PLAIN.replace("10}", "010}"), "c.yaml, line 3: 010: YAML reads it as 8; write"),
        (
            PLAIN + "run: 12:30\n",
            "12:30: YAML reads it as 750; write a number without",
        ),
        *((PLAIN + f"base: {text}\n", "is not a path; name one file") for text in ("[c.yaml]", "5", "{c: d}")),
        *((PLAIN.replace("ganlab.models.DCGAN", n), "whole path of a class; this pl") for n in ("DCGAN", "", "[a]")),
        (PLAIN + 'run: "a\\0b"\n', "c.yaml: run: holds a character that cannot be printed"),
        ('base: "a\\0b"\n' + PLAIN, "c.yaml: base: holds a character that cannot be printed"),
        (PLAIN + "machine: 5\n", "machine: 5 is not a mapping of keys"),
    ],
)
def test_configs_that_are_refused(text, said):
    code, output = show(text)
    assert code == 2 and said in output, output


@pytest.mark.parametrize(
    "name",
    [
        "runs/try #2",
        "a=b",
        "it's",
        'x "y"',
        "日本é",
        "007",
        "1e3",
        "true",
        "2024-01-01",
        "12:30:45",
        "{a,b}",
        "[a]",
        "*x",
    ],
)
def test_a_name_is_what_was_typed(name):
    code, output = show(PLAIN, f"run={name}")
    found = yaml.safe_load(output.split("\n\n")[0])
    assert code == 0 and found["run"] == name


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed", "write key=value"),
        ("=1", "write key=value"),
        ("sed=1", "did you mean 'seed'"),
        ("logging.wandb=off", "write disabled"),
        ("logging.wandb=none", "write disabled"),
        ("logging.wandb=yes", "write online"),
        ("train.total_nimg=1e3", "write 1_000"),
        ("train.total_nimg=1,000", "write 1_000"),
        ("train.total_nimg=010", "write 10"),
        ("machine.timeout_seconds=1:30", "'1:30' is not a whole number"),
        ("data.cache.bytes=50GB", "write 50_000_000_000"),
        ("model.betas=0.5", "model.betas: 0.5 is not a list of 2 numbers\n"),
        ("data.max_bad_fraction=5", "5: write at most 1"),
        ("model.lr={_target_: ganlab.schedules.Constant}", "model.lr: a mapping is not a number"),
        ("train.total_nimg=1.5", "not a whole number"),
        ("train.total_nimg=1e400", "not a whole number"),
        ("train.total_nimg=-5", "-5: write at least 1"),
        ("machine.threads=99999", "machine.threads: 99999: write at most 1_024"),
        ("machine.timeout_seconds=1000000000000", "write at most 10_000_000"),
        ("data.max_bad=-1", "data.max_bad: -1: write at least 0"),
        ("data.cache.bytes=0", "data.cache.bytes: 0: write at least 1"),
        ('data.url=""', "data.url: is empty"),
        ('run=""', "run: is empty"),
        ("evaluation.metrics=[]", "evaluation.metrics: [] measures nothing"),
        ("run=a\udcff", "run: holds a character that cannot be printed"),
        ("train.total_nimg=", "give a value"),
        ("train=5", "not a mapping"),
        ("model=null", "names no class"),
        ("evaluation.metrics=fid", "write [fid]"),
        ("evaluation.metrics=fid,kid", "write [fid, kid]"),
        ("evaluation.metrics=[fid", "not YAML"),
        ("run=${HOME}/x", "${...} is not supported"),
        ("machine.precision=16", "did you mean 'fp16'"),
        ("machine.threads=auto", "not a whole number"),
    ],
)
def test_words_that_are_refused(word, said):
    code, output = show(PLAIN, word)
    assert code == 2 and said in output, output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {batch: 3}", "train: not for a machine file"),
        ("machine: {thread: 3}", "did you mean 'threads'"),
        ("- x", "a mapping of keys to values"),
        ("machine: [x]", "not a mapping of keys"),
    ],
)
def test_machine_files_that_are_refused(text, said):
    Path("m.yaml").write_text(text)
    code, output = show(PLAIN, "--machine", "m.yaml")
    assert code == 2 and said in output, output
    assert show(PLAIN, "--machine", "gone.yaml")[0] == 2


def test_some_shards_are_named_by_braces(dataset, monkeypatch):
    shutil.copytree(dataset, "d")
    monkeypatch.chdir("d")
    for url in ("shard-{000000..000001}.tar", "{shard-000000,shard-000001}.tar", "shard-000000.tar,shard-000001.tar"):
        code, output = show(BARE, f"data.url={url}")
        assert code == 0 and url in output, output


@pytest.fixture
def config(dataset, here):
    """A config of 48 images whose data lie beside it."""
    shutil.copytree(dataset, "home/packed")
    (here / "packed").symlink_to(here / "home" / "packed")
    path = runs.write_config(here, Path("packed"))
    path.write_text(path.read_text().replace("480", "48"))
    return path


def test_a_run_of_an_odd_name_is_evaluated_from_anywhere(config, here, monkeypatch):
    run = "runs/try #2, it's=日本"
    runs.done(config, f"run={run}")
    assert (here / run / "checkpoints").is_dir()
    (here / "other").mkdir()
    monkeypatch.chdir("other")
    check(f'evaluate "../{run}" --metrics swd -n 16', 0)
    (here / "packed").unlink()
    check(f'evaluate "../{run}" --metrics swd -n 16', 2, "--data")
    check(f'evaluate "../{run}" --metrics swd -n 16 --data ../home/packed', 0)


def test_home_is_the_home_folder(config, here):
    code, output = show(BARE.replace("url: d", "url: ~/packed") + "run: ~/x\n")
    assert code == 0 and f"url: {here}/home/packed\n" in output and f"run: {here}/home/x\n" in output


def test_run_folders_that_cannot_be(config):
    Path("file").write_text("")
    data = yaml.safe_load(config.read_text())["data"]["url"]
    write({"own/config.yaml": b"base: ../tiny.yaml  # mine"})
    for run, said in (
        ("own", "own/config.yaml: is not of a run"),
        *(("file", "file"), ("file/x", "file/x"), ("y" * 300, "File name too long")),
        (data, f"{data}: holds a dataset; name another folder"),
    ):
        assert said in runs.refused("train", config, f"run={run}")
    assert Path("own/config.yaml").read_text().endswith("# mine")
    assert "No such file" in runs.refused("train", "gone.yaml")


def test_a_folder_in_use_is_refused(config):
    Path("run").mkdir()
    with held(Path("run/lock"), "the first", ""):
        assert f"run: in use by process {os.getpid()}" in runs.refused("train", config, "run=run")


def test_wandb_never_keeps_a_run_from_starting_and_a_copy_has_an_id_of_its_own(config, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    config.write_text(config.read_text().replace("disabled", "null"))
    monkeypatch.setenv("WANDB_BASE_URL", "localhost:8080")
    runs.done(config, "run=one")
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("WANDB_MODE", "")
    shutil.copytree("one", "two")
    runs.done(config, "run=two", "train.total_nimg=96")
    one, two = (Path(run, "wandb", "run-id.txt").read_text() for run in ("one", "two"))
    assert one and two and one != two


def test_a_full_disk_is_named(small_disk):
    disk = small_disk("40k")
    write({f"s/{i}.png": encoded(noise(64, 64, i)) for i in range(4)})
    check(f"data pack s {disk}/d --size 64", 2, "No space left on device", "make room")


def test_subsets_that_are_the_whole_set_have_no_spread(here):
    write(
        {
            f"{folder}/{i}.png": encoded(noise(32, 32, seed * 20 + i))
            for seed, folder in enumerate("ab")
            for i in range(20)
        }
    )
    said = check(f"evaluate a b --metrics kid --extractor {script(Toy(), here / 'toy.pt')}", 0)
    assert "kid" in said and "±" not in said


def test_a_source_and_a_dataset_with_names_of_their_own(here):
    write({f"my photos/{name}/1.png": encoded(noise()) for name in ("big cat", "dog, wet")})
    found = pack(here / "my photos", here / "out #1", size=8)
    assert found.class_names == ("big cat", "dog, wet")
    for verb in ("show", "check"):
        check(f"data {verb} 'out #1'", 0, "dog, wet")
