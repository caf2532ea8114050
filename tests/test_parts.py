import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam

from ganlab.augment import Augment, MirrorFlip
from ganlab.engine.averages import HalfLife
from ganlab.engine.game import Game
from ganlab.engine.optimizers import MakeOptimizer
from ganlab.engine.runtime import Runtime
from ganlab.experiment.parts import as_part, build, check_value, defaults_of, with_defaults
from ganlab.experiment.targets import resolve
from ganlab.metrics.features import Extractor
from ganlab.models import DCGAN, SNGAN, GANModule, ProgressiveGAN, ProjectionGAN
from ganlab.networks import dcgan, progressive, resnet
from ganlab.objectives import Objective, Wasserstein
from ganlab.regularizers import R1, R2, Drift, Regularizer
from ganlab.schedules import Constant, Linear, Schedule
from ganlab.types import ImageSpec, UserError


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("os.system", "is not a trusted target"),
        ("subprocess.Popen", "is not a trusted target"),
        ("builtins.eval", "is not a trusted target"),
        ("torch.load", "is not for this place"),
        ("ganlabevil.Model", "is not a trusted target"),
        ("torch.nnevil.Model", "is not for this place"),
        ("DCGAN", "is not the whole path of a class"),
        ("", "is not the whole path of a class"),
        (".DCGAN", "is not the whole path of a class"),
        ("torch.nn.parallel.distributed.os.system", "is not for this place"),
        ("torch.hub.load", "is not for this place"),
        ("ganlab.experiment.config.Path", "is not for this place, which takes classes of ganlab.engine and ganlab.mod"),
        ("ganlab.files.Path", "is not for this place"),
        ("ganlab.models.dcgan.partial", "leads to functools, which is not trusted"),
        ("ganlab.models.dcgan.Adam", "leads to torch.optim.adam, which is not trusted"),
        ("ganlab.models.dcgan.ImageSpec", "leads to ganlab.types, which is not trusted"),
        ("ganlab.engine.runtime.Runtime", "is not Game"),
        ("torch.nn.functional.relu", "is not for this place"),
        ("ganlab.commands.sample.load", "is not for this place"),
        ("ganlab.models.dcgan", "is not a class"),
        ("ganlab.models.DCGAM", "ganlab.models has no 'DCGAM'; did you mean 'DCGAN'?"),
        ("ganlab.models.dcgam.DCGAN", "cannot import 'ganlab.models.dcgam'"),
        ("ganlab.models..dcgan.DCGAN", "cannot import 'ganlab.models..dcgan'"),
        ("ganlab.model.DCGAN", "is not for this place"),
        ("ganlab.engine.game.Averaged", "has no 'Averaged'"),
    ],
)
def test_a_target_out_of_bounds_is_refused(path, complaint):
    with pytest.raises(UserError) as error:
        resolve(path, Game)
    assert complaint in str(error.value) and path.rpartition(".")[0] in str(error.value)


PLACES = {
    "network": torch.nn.Module,
    "optimizer": MakeOptimizer,
    "objective": Objective,
    "regularizer": Regularizer | None,
    "schedule": float | Schedule,
    "augment": Augment | None,
    "extractor": Extractor | None,
    "game": Game,
    "number": float,
    "text": str,
    "anything": Any,
    "object": object,
    "mapping": Mapping[str, Regularizer],
    "function": int | Callable[[int], int],
}


@pytest.mark.parametrize(
    ("path", "places"),
    {
        "ganlab.networks.dcgan.Generator": "network",
        "torch.nn.Identity": "network",
        "torch.nn.modules.lazy.LazyModuleMixin": "",
        "torch.nn.parallel.DistributedDataParallel": "",
        "torch.nn.modules.container.OrderedDict": "",
        "torch.optim.Adam": "optimizer",
        "torch.optim.RMSprop": "optimizer",
        "torch.optim.lr_scheduler.LambdaLR": "",
        "torch.optim.swa_utils.AveragedModel": "",
        "torch.hub._Faketqdm": "",
        "torch.jit.ScriptModule": "",
        "torch.utils.data.Dataset": "",
        "ganlab.objectives.Hinge": "objective",
        "ganlab.regularizers.R1": "regularizer",
        "ganlab.schedules.Linear": "schedule",
        "ganlab.augment.ADA": "augment",
        "ganlab.augment.Adaptive": "",
        "ganlab.augment.MirrorFlip": "augment",
        "ganlab.models.DCGAN": "game",
        "ganlab.metrics.features.TorchScriptFeatures": "extractor",
        "ganlab.metrics.features.InceptionV3": "extractor",
        "ganlab.metrics.features.TimmFeatures": "extractor",
        "ganlab.engine.cuda_graphs.CudaGraphs": "",
        "ganlab.data.ShardDataset": "",
        "ganlab.experiment.checkpoints.Writer": "",
        "ganlab.experiment.checkpoints.Hashing": "",
        "ganlab.callbacks.Tracker": "",
        "ganlab.layers.equalized.EqualizedConv2d": "",
        "pathlib.Path": "",
    }.items(),
)
def test_each_place_takes_what_is_made_for_it_and_nothing_else(path, places):
    taken = []
    for place, hint in PLACES.items():
        with contextlib.suppress(UserError):
            taken.append((place, resolve(path, hint).__name__))
    assert taken == [(place, path.rpartition(".")[2]) for place in places.split()]


def test_targets_in_bounds_are_their_classes():
    assert resolve("ganlab.models.DCGAN", Game) is DCGAN
    assert resolve("ganlab.models.dcgan.DCGAN", Game) is DCGAN
    assert resolve("torch.optim.Adam", MakeOptimizer) is Adam
    assert resolve("torch.nn.Linear", torch.nn.Module) is torch.nn.Linear


EVIL = {"_target_": "ganlab.metrics.features.TorchScriptFeatures", "path": "evil.pt"}


@pytest.mark.parametrize(
    "model",
    [
        {"generator": EVIL},
        {"generator": {"_target_": "torch.nn.Transformer", "custom_encoder": EVIL}},
        {"generator": {"_target_": "torch.nn.Linear", "in_features": [EVIL]}},
        {"generator": {"_target_": "torch.nn.Linear", "device": {"a": [{"b": EVIL}]}}},
        {"regularizers": EVIL},
        {"regularizers": {"a": EVIL}},
        {"regularizers": {"a": {"_target_": "ganlab.regularizers.R1", "weight": EVIL}}},
        {"regularizers": {"a": {"_target_": "ganlab.regularizers.R1", "weight": [EVIL]}}},
        {"optimizers": {"generator": {"_target_": "torch.optim.Adam", "betas": [EVIL, 0.9]}}},
        {"optimizers": {"generator": {"_target_": "torch.optim.Adam", "lr": EVIL}}},
        {"objective": EVIL},
        {"augment": EVIL},
        {"lr_schedule": EVIL},
        {"discriminator_steps": EVIL},
        {"ema": EVIL},
        {"dynamics": EVIL},
        {"zzz": EVIL},
        {"image": EVIL},
        {"runtime": EVIL},
    ],
    ids=repr,
)
def test_no_place_of_a_model_takes_what_reads_files(model, tmp_path):
    part = with_defaults({"_target_": "ganlab.models.GANModule", **model}, Game, ())
    complaints = [line for line in check_value(part, Game, "model", ()) if "missing" not in line]
    assert len(complaints) == 1 and complaints[0].startswith(f"model.{next(iter(model))}"), complaints


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's own, which notes that it was imported."""
    (tmp_path / "theirs.py").write_text(
        "import subprocess\n"
        "from ganlab.regularizers import R1\n"
        "class Mine(R1):\n    pass\n"
        "class Untyped:\n    def __init__(self, *, network=None): pass\n"
        "class Open:\n    def __init__(self, *args, depth: int = 1, **kwargs): self.depth = depth\n"
    )
    (tmp_path / "theirsevil.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "theirs"
    for name in ("theirs", "theirsevil"):
        sys.modules.pop(name, None)


def test_trust_lets_a_package_in_and_nothing_beside_it(package):
    with pytest.raises(
        UserError,
        match=r"'theirs.Mine' is not a trusted target; this place takes classes of ganlab\.regularizers; for a package "
        "whose code you trust, write --trust theirs$",
    ):
        resolve("theirs.Mine", Regularizer)
    assert package not in sys.modules  # refused before its code could run
    assert resolve("theirs.Mine", Regularizer, [package]) is sys.modules[package].Mine
    assert resolve("theirs.Mine", Any, [package]) is sys.modules[package].Mine
    for path in ("theirsevil.Mine", "theirs.subprocess.Popen"):
        with pytest.raises(UserError):
            resolve(path, Any, [package])
    with pytest.raises(UserError, match="is not a class"):
        resolve("theirs.subprocess", Any, [package])
    with pytest.raises(UserError, match=r"'theirs.Mine' is not Objective"):
        resolve("theirs.Mine", Objective, [package])


def test_where_a_trusted_class_names_no_type_nothing_of_ours_is_made(package):
    (complaint,) = told({"_target_": "theirs.Untyped", "network": EVIL}, trust=[package])
    assert complaint.startswith("here.network._target_: 'ganlab.metrics.features.TorchScriptFeatures' is not a trusted")
    assert told({"_target_": "theirs.Untyped", "network": {"_target_": "theirs.Open"}}, trust=[package]) == []


def told(value, hint=Any, trust=()):
    return list(check_value(value, hint, "here", trust))


def test_what_a_catch_all_would_take_is_an_unknown_key_and_never_missing(package):
    assert told({"_target_": "theirs.Open", "depth": 2}, trust=[package]) == []
    given = {"_target_": "theirs.Open", "zzz": 2, "kwargs": 1, "args": 1}
    assert sorted(told(given, trust=[package])) == [f"here.{name}: unknown key" for name in ("args", "kwargs", "zzz")]


def test_the_part_of_a_slot_must_be_of_its_kind():
    assert told({"_target_": "ganlab.regularizers.R1", "weight": 1}, R1) == []
    assert told({"_target_": "ganlab.regularizers.R1", "weight": 1}, R2 | None) == [
        "here._target_: 'ganlab.regularizers.R1' is not R2 or null"
    ]
    assert told({"_target_": "torch.optim.Adam", "lr": 1}, R1) == [
        "here._target_: 'torch.optim.Adam' is not for this place, which takes classes of ganlab.regularizers"
    ]


@pytest.mark.parametrize(
    ("kind", "hint"), [("ganlab.regularizers.Regularizer", Regularizer), ("ganlab.objectives.Objective", Objective)]
)
def test_a_kind_is_no_part(kind, hint):
    assert told({"_target_": kind, "weight": 1}, hint) == [
        f"here._target_: {kind!r} is abstract; name one of its subclasses"
    ]


@pytest.mark.parametrize(
    ("arguments", "complaints"),
    [
        ({"lr": {"_target_": "ganlab.schedules.Linear", "start": 2e-4}}, []),
        ({"betas": [{"_target_": "ganlab.schedules.Linear", "until_nimg": 9}, 0.9]}, []),
        ({"betas": [{"_target_": "ganlab.schedules.Linear"}]}, ["here.betas: "]),
        ({"betas": [{"_target_": "ganlab.schedules.Linear", "untl_nimg": 9}, 0.9]}, ["here.betas[0].untl_nimg: unkno"]),
        ({"amsgrad": {"_target_": "ganlab.schedules.Linear"}}, ["here.amsgrad: a mapping is not true or false"]),
    ],
)
def test_a_schedule_may_stand_for_any_number_of_an_optimizer(arguments, complaints):
    found = told({"_target_": "torch.optim.Adam", **arguments}, MakeOptimizer)
    assert len(found) == len(complaints) and all(map(str.startswith, found, complaints)), found


def test_schedules_without_an_end_get_the_runs():
    schedule = {"_target_": "ganlab.schedules.Linear", "start": 4}
    part = {"_target_": "torch.optim.Adam", "lr": schedule, "betas": [schedule, 0.9]}
    adam = build(part, MakeOptimizer, total_nimg=100)
    assert adam.func is Adam
    assert [adam.keywords["lr"](n) for n in (0, 25, 100)] == [4.0, 3.0, 0.0]
    assert adam.keywords["betas"][0](50) == 2.0 and adam.keywords["betas"][1] == 0.9
    assert build({**schedule, "until_nimg": 50}, Schedule, total_nimg=100)(50) == 0.0
    with pytest.raises(UserError, match="until_nimg: null, and the length of the run is not known"):
        Linear()(0)


# --- what classes say of themselves


def test_an_object_of_ours_is_written_as_a_part():
    assert as_part(Drift(weight=Linear(until_nimg=8))) == {
        "_target_": "ganlab.regularizers.Drift",
        "weight": {
            "_target_": "ganlab.schedules.Linear",
            "until_nimg": 8,
            "from_nimg": 0,
            "start": 1.0,
            "end": 0.0,
        },
        "every": 1,
    }
    assert as_part({4: (1, 2.0), "a": Wasserstein()}) == {
        "4": [1, 2.0],
        "a": {"_target_": "ganlab.objectives.Wasserstein"},
    }
    assert as_part(HalfLife(5.0))["_target_"] == "ganlab.engine.averages.HalfLife"
    with pytest.raises(TypeError):
        as_part(torch.zeros(1))


@dataclass(frozen=True)
class Plain:
    size: int = 3
    schedule: Schedule = Constant(value=2.0)  # noqa: RUF009
    table: Mapping[str, int] = field(default_factory=dict)
    total_nimg: int = 5
    function: Callable[..., int] = len


def test_defaults_are_what_a_config_could_have_written():
    assert defaults_of(Plain) == {"size": 3, "schedule": {"_target_": "ganlab.schedules.Constant", "value": 2.0}}
    assert defaults_of(Adam) == {}  # torch's own


@pytest.mark.parametrize(
    "target",
    [
        *(DCGAN, SNGAN, ProgressiveGAN, ProjectionGAN, GANModule, R1, Drift, Linear, Constant, MirrorFlip, HalfLife),
        *(module.Generator for module in (dcgan, progressive, resnet)),
        *(module.Discriminator for module in (dcgan, progressive, resnet)),
    ],
)
def test_every_default_of_a_class_of_ours_is_data(target):
    optional = {
        name
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    assert defaults_of(target).keys() == optional - {"runtime", "total_nimg"}


def test_build_makes_parts_innermost_first_and_hands_out_what_the_run_supplies():
    model = build(
        {
            "_target_": "ganlab.models.DCGAN",
            "width": 8,
            "lr_schedule": {"_target_": "ganlab.schedules.Linear", "until_nimg": 100, "end": 0},
            "regularizers": {
                "r1": {"_target_": "ganlab.regularizers.R1", "weight": 2},
                "r2": None,
            },
            "optimizers": {
                "generator": {"_target_": "torch.optim.SGD", "lr": 1},
                "discriminator": {"_target_": "torch.optim.Adam", "lr": 0.5, "betas": [0, 0.99]},
            },
        },
        Game,
        image=ImageSpec(16, 16, 3),
        runtime=Runtime(seed=7),
    )
    assert isinstance(model, DCGAN) and model.runtime.seed == 7 and model.image.channels == 3
    assert model.players["discriminator"].regularizers == {"r1": R1(weight=2.0)}
    assert model.players["generator"].lr_schedule == Linear(until_nimg=100, end=0.0)
    makers = {name: player.optimizer for name, player in model.players.items()}
    assert makers["generator"].func is SGD and makers["generator"].keywords == {"lr": 1.0}
    assert makers["discriminator"].func is Adam
    assert makers["discriminator"].keywords == {"lr": 0.5, "betas": (0.0, 0.99)}
    assert all(type(beta) is float for beta in makers["discriminator"].keywords["betas"])


def test_build_refuses_an_argument_that_the_run_supplies_too():
    with pytest.raises(AssertionError, match="image is supplied by the run"):
        build({"_target_": "ganlab.models.DCGAN", "image": 1}, Game, image=ImageSpec(16, 16, 3))
