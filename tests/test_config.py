import dataclasses
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

from ganlab.experiment.config import differences, from_dict, from_yaml, load, merge, to_yaml
from ganlab.experiment.frame import FREE_ON_RESUME, Config, Data, Train
from ganlab.experiment.parts import defaults_of
from ganlab.models import DCGAN
from ganlab.types import ImageSpec, UserError

CONFIG = """
model:
  _target_: ganlab.models.DCGAN
  width: 8
  regularizers: {r1: {_target_: ganlab.regularizers.R1, weight: 0.5}}
data: {url: data/digits}
train: {total_nimg: 1000}
"""


@pytest.fixture
def write(tmp_path):
    """Write a file of the test's folder."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def path(write):
    return write("small.yaml", CONFIG)


def refusal(*arguments, **options):
    with pytest.raises(UserError) as error:
        load(*arguments, **options)
    return str(error.value)


# --- text to a config


def test_a_config_is_checked_and_its_defaults_are_filled_in(path):
    config = load(path)
    given = {"width": 8, "regularizers": {"r1": {"_target_": "ganlab.regularizers.R1", "weight": 0.5, "every": 1}}}
    assert config.model == {"_target_": "ganlab.models.DCGAN", **defaults_of(DCGAN), **given}
    assert config.model["lr"] == 2e-4 and config.model["betas"] == [0.5, 0.999] and config.model["optimizers"] is None
    assert config.data == Data(url="data/digits") and config.train == Train(total_nimg=1000)
    assert config.run == "runs/digits-small" and config.seed == 0 and config.trust == ()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [("base", 1), ("base config", 2), ("base config machine", 3), ("base config machine command-line", 4)],
)
def test_the_later_layer_wins(write, layers, expected):
    def layer(name, number):
        return f"machine: {{decode_threads: {number}}}" if name in layers else ""

    write("base.yaml", layer("base", 1))
    config = write("exp/small.yaml", f"base: ../base.yaml\n{CONFIG}\n{layer('config', 2)}")
    machine = write("machine.yaml", layer("machine", 3) or "logging: {project: p}")
    overrides = ["machine.decode_threads=4"] if "command-line" in layers else []
    assert load(config, overrides, machine).machine.decode_threads == expected


def test_a_base_may_have_a_base_and_other_keys_are_kept(write):
    write("a.yaml", "train: {batch: 8, tick_nimg: 5}\nseed: 3")
    write("b.yaml", "base: a.yaml\ntrain: {batch: 16}")
    config = load(write("c.yaml", f"base: b.yaml\n{CONFIG}"))
    assert (config.seed, config.train) == (3, Train(total_nimg=1000, batch=16, tick_nimg=5))


def test_another_target_replaces_the_whole_part():
    parent = {"penalty": {"_target_": "a.B", "weight": 1}, "seed": 0}
    assert merge(parent, {"penalty": {"_target_": "a.C"}}) == {"penalty": {"_target_": "a.C"}, "seed": 0}
    assert merge(parent, {"penalty": {"_target_": "a.B", "every": 2}})["penalty"] == {
        "_target_": "a.B",
        "weight": 1,
        "every": 2,
    }
    assert merge(parent, {"penalty": {"weight": 3}})["penalty"] == {"_target_": "a.B", "weight": 3}
    assert parent["penalty"] == {"_target_": "a.B", "weight": 1}  # an overlay changes only its result


def test_null_removes_a_named_part(path):
    assert load(path, ["model.regularizers.r1=null"]).model["regularizers"] == {"r1": None}
    assert load(path, ["model.regularizers=null"]).model["regularizers"] is None


PROGRESSIVE = CONFIG.replace("DCGAN", "ProgressiveGAN").split("  width")[0] + "data: {url: d}\ntrain: {total_nimg: 9}\n"
PENALTY = {"_target_": "ganlab.regularizers.GradientPenalty", "weight": 10.0, "every": 1}
DRIFT = {"_target_": "ganlab.regularizers.Drift", "weight": 0.001, "every": 1}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"gradient_penalty": PENALTY, "drift": DRIFT}),
        (["model.regularizers={}"], {"gradient_penalty": PENALTY, "drift": DRIFT}),
        (["model.regularizers.drift=null"], {"gradient_penalty": PENALTY, "drift": None}),
        (["model.regularizers.drift.weight=0.01"], {"gradient_penalty": PENALTY, "drift": {**DRIFT, "weight": 0.01}}),
        (
            ["model.regularizers.drift={_target_: ganlab.regularizers.R1, weight: 2}"],
            {
                "gradient_penalty": PENALTY,
                "drift": {"_target_": "ganlab.regularizers.R1", "weight": 2, "every": 1},
            },
        ),
    ],
)
def test_a_config_lies_over_what_the_paper_says(write, overrides, expected):
    assert load(write("p.yaml", PROGRESSIVE), overrides).model["regularizers"] == expected


def test_a_table_of_numbers_is_one_value(write):
    model = load(write("p.yaml", PROGRESSIVE), ["model.batches={4: 8, 16: 4}"]).model
    assert model["batches"] == {"4": 8, "16": 4} and model["lr_factors"] == {"1024": 1.5}


def test_the_parts_inside_of_a_part_have_their_defaults_too(path):
    weight = load(path, ["model.regularizers.r1.weight={_target_: ganlab.schedules.Linear, start: 9}"])
    assert weight.model["regularizers"]["r1"]["weight"] == {
        "_target_": "ganlab.schedules.Linear",
        "start": 9,
        "until_nimg": None,
        "from_nimg": 0,
        "end": 0.0,
    }


BOTH = "{_target_: torch.optim.RMSprop, lr: 1e-3}"


def test_optimizers_stand_in_the_place_of_the_papers_scalars(path):
    optimizers = f"model.optimizers={{generator: {BOTH}, discriminator: {BOTH}}}"
    model = load(path, [optimizers]).model
    assert "lr" not in model and "betas" not in model and model["optimizers"]["generator"]["lr"] == 1e-3
    assert refusal(path, [optimizers, "model.lr=1", "model.widht=3"]).splitlines() == [
        f"{path}: 2 complaints",
        "  model.widht: unknown key; did you mean 'width'?",
        "  model.lr: has no effect beside model.optimizers; remove one of the two",
    ]
    assert "lr" not in load(path, [optimizers, "model.lr=null"]).model


# --- names of the first edition

OLD_NAMES = {
    "model.rate=0.5": ("model", "lr", 0.5),
    "model.group=8": ("train", "group", 8),
    "model.rate_schedule={_target_: ganlab.schedules.Constant, value: 2}": (
        "model",
        "lr_schedule",
        {"_target_": "ganlab.schedules.Constant", "value": 2},
    ),
}


@pytest.mark.parametrize("override", OLD_NAMES)
def test_a_former_name_is_accepted_with_a_warning(path, override, caplog):
    section, name, value = OLD_NAMES[override]
    assert load(path, [override]).as_dict()[section][name] == value
    old = override.split("=")[0]
    assert caplog.messages == [f"{path}: {old} is now called {section}.{name}; please write that"]


def test_a_former_name_is_accepted_in_any_layer_and_the_last_one_counts(write, caplog):
    write("base.yaml", f"{CONFIG}\n".replace("width: 8", "rate: 1.0"))
    path = write("c.yaml", "base: base.yaml\nmodel: {rate: 2.0}")
    assert load(path).model["lr"] == 2.0
    assert len(caplog.messages) == 1
    assert load(path, ["model.lr=3.0"]).model["lr"] == 3.0
    new = write("new.yaml", "base: base.yaml\nmodel: {lr: 4.0}")
    assert load(new).model["lr"] == 4.0 and load(new, ["model.rate=5.0"]).model["lr"] == 5.0


def test_both_names_of_one_key_are_refused(path):
    said = refusal(path, ["model.rate=1", "model.lr=2"])
    assert said == f"{path}: model.rate and model.lr are one key under two names; remove model.rate"
    assert "model.group and train.group" in refusal(path, ["model.group=8", "train.group=8"])


def test_the_names_of_a_former_sngan(write):
    path = write("s.yaml", PROGRESSIVE.replace("ProgressiveGAN", "SNGAN"))
    assert load(path, ["model.discriminator_moves=3"]).model["discriminator_steps"] == 3
    assert load(path).model["lr_schedule"]["until_nimg"] is None  # the run's end
    path = write("p.yaml", PROGRESSIVE)
    assert load(path, ["model.rate_factors={4: 2.0}"]).model["lr_factors"] == {"4": 2.0}


def test_ints_become_floats_and_lists_tuples_where_the_type_asks(path):
    image = load(path, ["data.image={height: 16, width: 16, channels: 1}"]).data.image
    assert image == ImageSpec(16, 16, 1, 0)
    load(path, ["model.lr=1", "model.betas=[0,1]", "model.regularizers.r1.weight=5"])


def test_the_run_folder_is_named_by_dataset_and_config_unless_it_is_given(path):
    assert load(path, ["data.url=/far/faces/"]).run == "runs/faces-small"
    assert load(path, ["run=here"]).run == "here"


# --- texts and paths


TYPED = {
    "run=runs/try #2": "runs/try #2",
    "run=007": "007",
    "run=1e3": "1e3",
    "run=off": "off",
    "run=a: b": "a: b",
    "run='007'": "007",
    'run="a b"': "a b",
    "run=[x]": "[x]",
    "run=./null": "./null",
    "run=null": "runs/digits-small",  # null is the default
    "run=": "runs/digits-small",
    "data.url={000..001}.tar": "{000..001}.tar",
    "data.url={a,b}.tar": "{a,b}.tar",
    "data.url=[a.tar, b.tar]": "a.tar,b.tar",
    "logging.project=2024": "2024",
    "evaluation.data=null": None,
    "evaluation.extractor={_target_: ganlab.metrics.features.TorchScriptFeatures, path: x} "
    "evaluation.extractor.path=3e1": "3e1",
    "model.regularizers.r1.weight=3e1": 30.0,
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_is_typed_for_a_text_stays_as_it_is(path, typed):
    *first, last = typed.split(" evaluation.") if "extractor" in typed else [typed]
    last = f"evaluation.{last}" if first else last
    node = load(path, [*first, last]).as_dict()
    for name in last.partition("=")[0].split("."):
        node = node[name]
    assert node == TYPED[typed]


def test_a_choice_among_numbers_is_typed_as_a_number():
    sagan = REPOSITORY / "configs/imagenet128/sagan.yaml"
    assert load(sagan, ["model.attention=32"]).model["attention"] == 32
    with pytest.raises(UserError, match=r"model\.attention: 31 is not one of 8, 16, 32, 64, 128 or null"):
        load(sagan, ["model.attention=31"])


def test_a_tilde_is_the_home_folder_in_every_path_of_a_config(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("base.yaml", "seed: 7")
    text = CONFIG.replace("url: data/digits", "url: '~/a.tar,~/b.tar', cache: {folder: ~/cache}")
    extractor = "extractor: {_target_: ganlab.metrics.features.TorchScriptFeatures, path: ~/x.pt}"
    config = load(write("c.yaml", f"base: ~/base.yaml\nrun: ~/run\nevaluation: {{data: ~, {extractor}}}\n{text}"))
    assert (config.seed, config.run, config.data.url) == (7, f"{tmp_path}/run", f"{tmp_path}/a.tar,{tmp_path}/b.tar")
    assert config.data.cache.folder == f"{tmp_path}/cache" and config.evaluation.data is None
    assert config.evaluation.extractor["path"] == f"{tmp_path}/x.pt"
    config = load(path := write("d.yaml", CONFIG), ["run=~", "data.url=s3://lab/~me/x"])
    assert (config.run, config.data.url) == (str(tmp_path), "s3://lab/~me/x"), path


def test_a_section_without_keys_changes_nothing(write, path):
    write("base.yaml", f"{CONFIG}\nmachine: {{threads: 3}}")
    empty = "machine:\n  # threads: 1\nlogging:\nevaluation:\nmodel:\ntrain:\ndata: {cache: }"
    config = load(write("c.yaml", f"base: base.yaml\n{empty}"), machine=write("m.yaml", "machine:\nlogging:"))
    assert config == dataclasses.replace(load(tmp := path.parent / "base.yaml"), run="runs/digits-c"), tmp
    assert load(path.parent / "c.yaml", ["machine=null"]).machine.threads is None  # said on purpose: the defaults


@pytest.mark.parametrize(
    ("url", "name"), [(".", None), ("{a,b}.tar", None), ("x/a.tar,x/b.tar", "x"), ("up.tar", "up.tar")]
)
def test_a_run_is_named_by_the_folder_of_its_data(path, tmp_path, monkeypatch, url, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up.tar").mkdir()
    assert load(path, [f"data.url={url}"]).run == f"runs/{name or tmp_path.name}-small"


# --- complaints

REMEDIES = {  # key, what YAML makes of what was written, what to write
    ("logging.wandb", "off"): "disabled",
    ("logging.wandb", "no"): "disabled",
    ("logging.wandb", "on"): "online",
    ("logging.wandb", "none"): "disabled",
    ("run", "2024"): "'2024'",
    ("run", "1.5"): "'1.5'",
    ("evaluation.metrics", "fid"): "[fid]",
    ("evaluation.metrics", "'fid, kid'"): "[fid, kid]",
    ("train.batch", "none"): "null",
    ("train.batch", "1,000"): "1_000",
    ("train.total_nimg", "5M"): "5_000_000",
    ("train.total_nimg", "20e6"): "20_000_000",
    ("data.mirror", "1"): "true",
    ("machine.precision", "16"): "fp16",
    ("model.betas", "0.5"): None,
    ("model.lr", ""): None,
}


@pytest.mark.parametrize("mistake", REMEDIES)
def test_the_remedy_of_a_message_works(path, write, mistake):
    (key, text), remedy = mistake, REMEDIES[mistake]
    section, _, name = key.rpartition(".")
    line = f"{section}:\n  {name}: {{}}" if section else f"{name}: {{}}"
    said = refusal(write("c.yaml", f"base: small.yaml\n{line.replace('{}', text)}"))
    assert not re.search(r"None|True|False|\bstr\b|\bint\b|tuple|\|", said), said
    if remedy is None:
        return
    told = re.search(r"; (?:write (?:it in quotes: )?|did you mean '(?=fp))(.*?)(?: \(|'?\?|$)", said)
    assert told is not None and told[1].strip("'") == remedy.strip("'"), said
    load(write("d.yaml", f"base: small.yaml\n{line.replace('{}', remedy)}"))
    load(path, [f"{key}={remedy}"])


MISTAKES = {
    "zzz=1": "zzz: unknown key",
    "sed=1": "sed: unknown key; did you mean 'seed'?",
    "train.bath=32": "train.bath: unknown key; did you mean 'batch'?",
    "train.batch=2e1": "train.batch: 20.0 is not a whole number or null; write 20",
    "train.tick_nimg=20e6": "train.tick_nimg: 20000000.0 is not a whole number; write 20_000_000",
    "train.sample_every_nimg=1.5": "train.sample_every_nimg: 1.5 is not a whole number",
    "train.total_nimg=many": "train.total_nimg: 'many' is not a whole number",
    "train.micro_batch=two": "train.micro_batch: 'two' is not a whole number or null",
    "train.keep_checkpoints=0": "train.keep_checkpoints: 0: write at least 1",
    "train.checkpoint_every_nimg=-5": "train.checkpoint_every_nimg: -5: write at least 1",
    "seed=true": "seed: true is not a whole number",
    "data.image.height=tall": "data.image.height: 'tall' is not a whole number",
    "data.image.hieght=8": "data.image.hieght: unknown key; did you mean 'height'?",
    "data.cache={_target_: ganlab.experiment.frame.Cache}": "data.cache._target_: unknown key",
    "data.image.width=8": ("data.image.channels: missing",),
    "machine.device=cudda": "machine.device: 'cudda' is not one of auto, cpu, cuda; did you mean 'cuda'?",
    "machine.decode_threads=0": "machine.decode_threads: 0: write at least 1",
    "logging.wandb=offlin": (
        "logging.wandb: 'offlin' is not one of online, offline, disabled or null; did you mean 'offline'?"
    ),
    "model.widht=3": "model.widht: unknown key; did you mean 'width'?",
    "model.conditional=1": "model.conditional: 1 is not true or false; write true",
    "model.latent=true": "model.latent: true is not a whole number",
    "model.lr=fast": "model.lr: 'fast' is not a number",
    "model.ema_half_life=.inf": "model.ema_half_life: inf is no finite number",
    "model.batch_norm_group=0": "model.batch_norm_group: 0: write at least 1, or null",
    "model.betas=[0,0.5,1]": "model.betas: [0, 0.5, 1] is not a list of 2 numbers",
    "model.runtime=3": "model.runtime: supplied by the run; remove it",
    "model.augment=flip": "model.augment: 'flip' is not Augment or null; write {_target_: ganlab.augment.NAME, ...}",
    "model.lr_schedule={_target_: ganlab.schedules.Linear, total_nimg: 3}": (
        "model.lr_schedule.total_nimg: supplied by the run; remove it"
    ),
    "model.regularizers.r1.wieght=3": "model.regularizers.r1.wieght: unknown key; did you mean 'weight'?",
    "model.regularizers.r1.every=1.5": "model.regularizers.r1.every: 1.5 is not a whole number",
    "model.regularizers.r2={_target_: ganlab.regularizers.R2}": "model.regularizers.r2.weight: missing",
    "model.regularizers.no={_target_: ganlab.regularizers.R11, weight: 1}": (
        "model.regularizers.no._target_: ganlab.regularizers has no 'R11'; did you mean 'R1'?"
    ),
    "model.regularizers.s={_target_: ganlab.schedules.Constant}": (
        "model.regularizers.s._target_: 'ganlab.schedules.Constant' is not for this place, which takes classes of "
        "ganlab.regularizers"
    ),
    "model.regularizers.bare={weight: 1}": (
        "model.regularizers.bare: a mapping is not Regularizer; write {_target_: ganlab.regularizers.NAME, ...}"
    ),
    "model.optimizers.d={_target_: torch.optim.Adam, lr: 1, beta: 0}": (
        "model.optimizers.d.beta: unknown key; did you mean 'betas'?"
    ),
    "model.optimizers.g={_target_: torch.optim.LBFGS}": (
        "model.optimizers.g._target_: LBFGS needs a closure that recomputes the loss, which a step does not have; "
        "write for example torch.optim.Adam"
    ),
    "model.optimizers.h={_target_: torch.optim.SparseAdam}": (
        "model.optimizers.h._target_: SparseAdam takes only sparse gradients, and networks have dense ones; "
        "write for example torch.optim.Adam"
    ),
    "model.optimizers.x={_target_: ganlab.regularizers.R1, weight: 1}": (
        "model.optimizers.x._target_: 'ganlab.regularizers.R1' is not for this place, which takes classes of "
        "ganlab.optim and torch.optim"
    ),
}


def lines(*expected):
    return [line for entry in expected for line in ([entry] if isinstance(entry, str) else entry)]


@pytest.mark.parametrize("override", [text for text in MISTAKES if not text.startswith("data.image")])
def test_a_mistake_is_told_with_its_place_and_the_remedy(path, override):
    assert refusal(path, [override]) == f"{path}: 1 complaint\n  {MISTAKES[override]}"


def test_all_mistakes_are_told_at_once(path):
    head, *told = refusal(path, list(MISTAKES)).splitlines()
    beside = [f"model.{name}: has no effect beside model.optimizers; remove one of the two" for name in ("lr", "betas")]
    expected = [*lines(*MISTAKES.values()), *beside]
    assert head == f"{path}: {len(expected)} complaints"
    assert sorted(line.strip() for line in told) == sorted(expected)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model=null"], "model: names no class; write for example `model: {_target_: ganlab.models.DCGAN}`"),
        (["data=null"], "data: missing"),
        (["data=3"], "data: 3 is not a mapping of keys"),
        (["train=[1]"], r"train: \[1\] is not a mapping of keys"),
        (["machine=gpu"], "machine: 'gpu' is not a mapping of keys"),
        (
            ["model.augment={_target_: torch.optim.Adam}"],
            r"model\.augment\._target_: 'torch.optim.Adam' is not for this place, which takes classes of ganlab",
        ),
        (["data={image: null}"], "data.url: missing"),
    ],
)
def test_a_mistake_in_the_place_of_a_whole_section(write, overrides, complaint):
    text = CONFIG.replace("data: {url: data/digits}", "") if overrides[0].startswith("data={") else CONFIG
    assert re.search(f"1 complaint\n  {complaint}", refusal(write("small.yaml", text), overrides))


def test_an_empty_config_misses_what_has_no_default(write):
    assert refusal(write("e.yaml", "")).splitlines()[1:] == ["  model: missing", "  data: missing", "  train: missing"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "not YAML: .*flow"),
        ("seed: 1\nseed: 2", "not YAML: .*duplicate key seed"),
        ("- model\n- data", "a list or a number; a config is a mapping of keys to values"),
        (f"{CONFIG}\n1: 2", "1: unknown key"),
        (CONFIG.replace("url:", "yes: 1, url:"), "data.True: unknown key"),
        (f"base: none.yaml\n{CONFIG}", r"none\.yaml: No such file or directory; give the path of a YAML file"),
        (f"base: small.yaml\n{CONFIG}", r"small\.yaml: its `base:` chain comes back to itself"),
    ],
)
def test_a_file_that_is_no_config(write, text, message):
    path = write("small.yaml", text)
    found = refusal(path)
    assert re.search(message, found, re.DOTALL) and str(path.parent) in found


def test_a_base_chain_of_two_that_comes_back(write):
    write("a.yaml", "base: b.yaml")
    assert "b.yaml: its `base:` chain comes back" in refusal(write("b.yaml", "base: a.yaml"))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    assert (
        refusal(tmp_path / "no.yaml") == f"{tmp_path}/no.yaml: No such file or directory; give the path of a YAML file"
    )
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory; give the path of a YAML file"
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\xff\xfe")
    assert "picture.yaml: not YAML" in refusal(tmp_path / "picture.yaml")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batch", "'train.batch' is not an override; write key=value, for example train.batch=32"),
        ("train.batch=[1,2", r"command line: train.batch=[1,2: not YAML: while parsing a flow sequence"),
        ("trust=[os]", "trust may not stand in a config"),
    ],
)
def test_an_override_that_is_none(path, override, message):
    assert message in refusal(path, [override])


def test_a_machine_file_holds_no_science(path, write):
    machine = write("m.yaml", "machine: {device: cpu}\nseed: 1\ntrain: {batch: 2}")
    assert (
        refusal(path, machine=machine)
        == f"{machine}: seed, train: not for a machine file, which holds machine and logging"
    )
    assert "thread: unknown key" in refusal(path, machine=write("m.yaml", "machine: {thread: 1}"))


@pytest.mark.parametrize(
    "text", ["run: ${oc.env:SECRET}", "data: {url: '${oc.env:SECRET}'}", "x: ['a ${oc.env:SECRET}']"]
)
def test_the_environment_does_not_get_in(write, path, monkeypatch, text):
    monkeypatch.setenv("SECRET", "hunter2")
    for found in (refusal(write("s.yaml", text)), refusal(path, [text.replace(": ", "=", 1)])):
        assert "${...} is not supported; write the value itself" in found and "oc.env:SECRET" in found
        assert "hunter2" not in found


NAMES = st.text(string.ascii_uppercase, min_size=1, max_size=8)
PLACES = ["", "data.", "data.image.", "train.", "machine.", "logging.", "model.", "model.regularizers.r1."]


@given(st.sets(st.tuples(st.sampled_from(PLACES), NAMES), min_size=1, max_size=12))
def test_every_unknown_key_is_told_whatever_the_others_are(keys):
    values = {
        "model": {
            "_target_": "ganlab.models.DCGAN",
            "regularizers": {"r1": {"_target_": "ganlab.regularizers.R1", "weight": 1}},
        },
        "data": {"url": "d", "image": {"height": 16, "width": 16, "channels": 3}},
        "train": {"total_nimg": 1},
        "machine": {},
        "logging": {},
        "run": "r",
    }
    for place, name in keys:
        node = values
        for step in place.split(".")[:-1]:
            node = node[step]
        node[name] = 1
    with pytest.raises(UserError) as error:
        from_dict(values, "here")
    told = [line.strip().split(";")[0] for line in str(error.value).splitlines()[1:]]
    assert sorted(told) == sorted(f"{place}{name}: unknown key" for place, name in keys)


# --- what a run remembers


def test_a_resolved_config_reads_back_equal(path, tmp_path):
    config = load(
        path, ["data.image={height: 16, width: 16, channels: 1}", "model.betas=[0,0.9]", "model.augment=null"]
    )
    (tmp_path / "out.yaml").write_text(to_yaml(config))
    assert from_yaml(tmp_path / "out.yaml") == config


@pytest.mark.slow
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(lambda text: "${" not in text))
def test_any_name_survives_yaml(tmp_path_factory, text):
    model = {"_target_": "ganlab.models.DCGAN", **defaults_of(DCGAN)}
    config = Config(model=model, data=Data(url=text), train=Train(total_nimg=1), run=text)
    path = tmp_path_factory.getbasetemp() / "name.yaml"
    path.write_text(to_yaml(config))
    assert from_yaml(path) == config


def test_trust_in_a_resolved_config_is_not_believed(path, tmp_path):
    config = load(path, trust=["mine"])
    assert config.trust == ("mine",) and "trust:\n- mine\n" in to_yaml(config)
    (tmp_path / "out.yaml").write_text(to_yaml(config))
    assert from_yaml(tmp_path / "out.yaml").trust == ()
    assert from_yaml(tmp_path / "out.yaml", ["other"]).trust == ("other",)


def test_a_run_folder_cannot_widen_trust(path, tmp_path):
    run = f"run={tmp_path / 'run'}"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(to_yaml(load(path, [run], trust=["b"])))
    assert load(path, [run], trust=["a"]).trust == ("a",)
    assert load(path).trust == ()


def test_a_runs_own_config_is_a_config_but_for_its_trust(path, write, caplog):
    config = load(path, ["model.regularizers.r1.every=2"], trust=["theirs", "ours"])
    own = write("own.yaml", to_yaml(config))
    assert load(own, trust=["ours", "theirs"]) == dataclasses.replace(config, trust=("ours", "theirs"))
    assert caplog.messages == []
    assert load(own, trust=["ours"]) == dataclasses.replace(config, trust=("ours",))
    assert caplog.messages == [f"{own}: trust: ['theirs']: not believed; write --trust theirs"]


def test_differences_name_every_leaf_that_differs():
    saved = {"a": 1, "b": {"c": [1, 2], "d": None, "gone": 3}, "e": {}, "f": {}}
    now = {"a": 1.5, "b": {"c": (1, 2), "d": {"x": 1}}, "new": "n", "e": {}}
    assert differences(saved, now) == {
        "a": (1, 1.5),
        "b.gone": (3, None),
        "b.d.x": (None, 1),
        "f": ({}, None),
        "new": (None, "n"),
    }
    assert differences(saved, saved) == {}


FREE = {
    "train.checkpoint_blocks",
    "run",
    "train.total_nimg",
    "train.tick_nimg",
    "train.sample_every_nimg",
    "train.checkpoint_every_nimg",
    "train.keep_checkpoints",
    "train.keep_best",
    "train.on_not_finite",
    "train.rollbacks",
    "data.url",
    "trust",
}


def leaves(frame, prefix=""):
    for item in dataclasses.fields(frame):
        inner = {"data": Data, "train": Train}.get(item.name, item.default_factory)
        if dataclasses.is_dataclass(inner):
            yield from leaves(inner, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}"


@pytest.mark.parametrize("key", [*leaves(Config), "model.width", "train.total_nimg_2", "runs", "data.image.height"])
def test_only_what_changes_no_weight_is_free_on_resume(key):
    free = key in FREE or key.startswith(("machine.", "logging.", "evaluation.", "data.cache.", "data.max_bad"))
    assert bool(FREE_ON_RESUME.match(key)) == free


def test_another_stream_without_a_url_is_the_same_images(write):
    def data(other):
        stream = f"data: {{url: a, image: {{height: 16, width: 16, channels: 3}}, other: {other}}}"
        path = write("streams.yaml", CONFIG.replace("data: {url: data/digits}", stream))
        return load(path, ["data.url=b"]).data

    same, another = data("{mirror: true}"), data("{url: c}")
    assert (same.other.url, same.other.image, same.other.mirror) == ("b", same.image, True) and not same.mirror
    assert (another.other.url, another.other.image) == ("c", None)
