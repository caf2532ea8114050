import sys

import pytest
import torch
from torch.optim import SGD, Adam

from ganlab.experiment.parts import build, check_value, resolve
from ganlab.models import DCGAN, GANModule
from ganlab.regularizers import R1, R2
from ganlab.schedules import Linear
from ganlab.types import ImageSpec, UserError


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("os.system", "is not a trusted target"),
        ("subprocess.Popen", "is not a trusted target"),
        ("builtins.eval", "is not a trusted target"),
        ("torch.load", "is not a trusted target"),
        ("torch.hub.load", "is not a trusted target"),
        ("ganlabevil.Model", "is not a trusted target"),
        ("torch.nnevil.Model", "is not a trusted target"),
        ("DCGAN", "is not a trusted target"),
        ("", "is not a trusted target"),
        (".DCGAN", "is not a trusted target"),
        ("torch.nn.parallel.distributed.os.system", "cannot import 'torch.nn.parallel.distributed.os'"),
        ("ganlab.experiment.config.Path", "leads to pathlib, which is not trusted"),
        ("ganlab.files.Path", "leads to pathlib, which is not trusted"),
        ("ganlab.models.dcgan.partial", "leads to functools, which is not trusted"),
        ("torch.optim.adam.Tensor", "leads to torch, which is not trusted"),
        ("torch.nn.functional.relu", "is not a class"),
        ("ganlab.commands.sample.load", "is not a class"),
        ("ganlab.engine.game", "is not a class"),
        ("ganlab.models.DCGAM", "ganlab.models has no 'DCGAM'; did you mean 'DCGAN'?"),
        ("ganlab.model.DCGAN", "cannot import 'ganlab.model'"),
        ("ganlab..models.DCGAN", "cannot import 'ganlab..models'"),
        ("ganlab.__main__.DCGAN", "ganlab.__main__ has no 'DCGAN'"),
    ],
)
def test_a_target_out_of_bounds_is_refused(path, complaint):
    with pytest.raises(UserError) as error:
        resolve(path)
    assert complaint in str(error.value) and path.rpartition(".")[0] in str(error.value)


def test_targets_in_bounds_are_their_classes():
    assert resolve("ganlab.models.DCGAN") is DCGAN
    assert resolve("ganlab.models.dcgan.DCGAN") is DCGAN
    assert resolve("torch.optim.Adam") is Adam
    assert resolve("torch.nn.Linear") is torch.nn.Linear


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's own, which notes that it was imported."""
    (tmp_path / "theirs.py").write_text(
        "import subprocess\n"
        "from ganlab.regularizers import R1\n"
        "class Mine(R1):\n    pass\n"
        "class Open:\n    def __init__(self, *args, depth: int = 1, **kwargs): self.depth = depth\n"
    )
    (tmp_path / "theirsevil.py").write_text("class Mine: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "theirs"
    for name in ("theirs", "theirsevil"):
        sys.modules.pop(name, None)


def test_trust_lets_a_package_in_and_nothing_beside_it(package):
    with pytest.raises(
        UserError, match=r"not a trusted target; allowed are ganlab, torch\.optim, torch\.nn and what --trust"
    ):
        resolve("theirs.Mine")
    assert package not in sys.modules  # refused before its code could run
    assert resolve("theirs.Mine", [package]) is sys.modules[package].Mine
    for path in ("theirsevil.Mine", "theirs.subprocess.Popen"):
        with pytest.raises(UserError):
            resolve(path, [package])
    with pytest.raises(UserError, match="is not a class"):
        resolve("theirs.subprocess", [package])


def told(value, hint=object, trust=()):
    return list(check_value(value, hint, "here", trust))


def test_what_a_catch_all_would_take_is_an_unknown_key_and_never_missing(package):
    assert told({"_target_": "theirs.Open", "depth": 2}, trust=[package]) == []
    given = {"_target_": "theirs.Open", "zzz": 2, "kwargs": 1, "args": 1}
    assert sorted(told(given, trust=[package])) == [f"here.{name}: unknown key" for name in ("args", "kwargs", "zzz")]


def test_the_part_of_a_slot_must_be_of_its_kind():
    assert told({"_target_": "ganlab.regularizers.R1", "weight": 1}, R1) == []
    assert told({"_target_": "ganlab.regularizers.R1", "weight": 1}, R2 | None) == [
        "here._target_: R1 is not R2 or null"
    ]
    assert told({"_target_": "torch.optim.Adam", "lr": 1}, R1) == ["here._target_: Adam is not R1"]


def test_build_makes_parts_innermost_first_and_hands_out_what_the_run_supplies():
    model = build(
        {
            "_target_": "ganlab.models.DCGAN",
            "width": 8,
            "betas": [0, 1],
            "rate_schedule": {"_target_": "ganlab.schedules.Linear", "until_nimg": 100, "end": 0},
            "regularizers": {
                "r1": {"_target_": "ganlab.regularizers.R1", "weight": 2},
                "r2": None,
            },
            "optimizers": {
                "generator": {"_target_": "torch.optim.SGD", "lr": 1},
                "discriminator": {"_target_": "torch.optim.Adam", "lr": 0.5, "betas": [0, 0.99]},
            },
        },
        image=ImageSpec(16, 16, 3),
        seed=7,
        micro_batch=None,
        precision="fp32",
    )
    assert isinstance(model, GANModule) and model.seed == 7 and model.image.channels == 3
    assert list(model.regularizers) == ["r1"] and isinstance(model.regularizers["r1"], R1)
    assert model.rate_schedule == Linear(until_nimg=100, end=0.0)
    makers = model.optimizer_makers
    assert makers["generator"].func is SGD and makers["generator"].keywords == {"lr": 1.0}
    assert makers["discriminator"].func is Adam
    assert makers["discriminator"].keywords == {"lr": 0.5, "betas": (0.0, 0.99)}
    assert all(type(beta) is float for beta in makers["discriminator"].keywords["betas"])


def test_build_refuses_an_argument_that_the_run_supplies_too():
    with pytest.raises(AssertionError, match="seed is supplied by the run"):
        build({"_target_": "ganlab.models.DCGAN", "seed": 1}, image=ImageSpec(16, 16, 3), seed=7)
