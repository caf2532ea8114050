"""The pages: what they show is run or checked, and what they name is there."""

import ast
import contextlib
import importlib
import importlib.util
import re
import runpy
import tomllib
from pathlib import Path

import click
import documents
import pytest
import tiny_runs as runs
import yaml
from documents import PAGES, blocks, text_of
from PIL import Image
from repository import REPOSITORY

from ganlab.cli import main
from ganlab.experiment import checkpoints
from ganlab.experiment.config import load

EVERY = pytest.mark.parametrize("page", PAGES)
LANGUAGES = {"sh", "yaml", "python", "text"}
"""Of blocks; `text` is what is not run: output, and pictures made of letters."""
OTHERS = {"apptainer", "aws", "docker", "eval", "exec", "export", "git", "npm", "pip", "source", "wandb"}
"""Programs of others."""
EXAMPLES = {"", "CONFIG", "COPY/config.yaml"}
"""Configs that stand for a reader's own."""


@EVERY
def test_every_block_is_of_a_kind_that_is_tested(page):
    assert {block.language for block in blocks(page)} <= LANGUAGES
    assert "```" not in documents.FENCED.sub("", text_of(page))


@EVERY
def test_every_command_can_be_given(page, tmp_path, monkeypatch):
    documents.write_files(page, tmp_path)
    for name in ("configs", "benchmarks", "launch"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    monkeypatch.chdir(tmp_path)
    inline = re.findall(r"`(ganlab [^`…]+)`", documents.FENCED.sub("", text_of(page)))
    for words in [*documents.commands(page), *(line.split() for line in inline if " ..." not in line)]:
        check_command(words)


def check_command(words):
    program, *rest = words
    name = Path(program).name
    if name == "ganlab":
        check_verb(rest)
    elif name == "make":
        assert re.search(rf"^{rest[0]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE), words
    elif name in ("python", "torchrun") and "-m" in rest:
        module = rest[rest.index("-m") + 1]
        assert importlib.util.find_spec(module), module
        if module == "ganlab":
            check_verb(rest[rest.index("-m") + 2 :])
    elif name == "python":
        assert Path(rest[0]).is_file() or rest[0] == "-c", words
    elif name in ("torchrun.sh", "sbatch"):
        script = next(at for at, word in enumerate(words) if word.startswith("launch/"))
        assert Path(words[script]).is_file()
        check_verb(["train", *words[script + 1 :]])
    else:
        assert name in OTHERS or (REPOSITORY / ".venv" / "bin" / name).exists(), words


def check_verb(words):
    """Parse a command as click does, and load the config that it names."""
    command, context = main, None
    while isinstance(command, click.Group):
        options = [word for word in words if word.startswith("-")] if words[0].startswith("-") else []
        with contextlib.suppress(click.exceptions.Exit):
            context = command.make_context("ganlab", [*options, *words][: len(options) + 1], parent=context)
        if options:
            return
        command, words = command.get_command(context, words[0]), words[1:]
        assert command, words
    if words in ([], ["--help"]):  # named, not given
        return
    context = command.make_context(command.name, list(words), parent=context)
    config = str(context.params.get("config", ""))
    if config not in EXAMPLES and not context.params["trust"]:
        load(config, context.params["overrides"], context.params["machine"])


@EVERY
def test_every_yaml_is_a_config_or_lies_over_one(page, tmp_path):
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    for block in blocks(page, "yaml"):
        shown = yaml.safe_load(block.text)
        if not shown.get("model", {}).get("_target_", "ganlab.").startswith("ganlab."):
            continue  # the reader's own class: the page is tested as a whole
        base = shown.get("base", "configs/cifar10/dcgan.yaml").replace("../", "configs/")
        (tmp_path / "page.yaml").write_text(yaml.safe_dump({**shown, "base": base}))
        load(tmp_path / "page.yaml")


@EVERY
def test_every_python_block_compiles_and_imports_what_is_there(page):
    for block in blocks(page, "python"):
        for node in ast.walk(compile(block.text, page, "exec", ast.PyCF_ONLY_AST)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


@EVERY
def test_files_extras_and_keys_of_the_pages_exist(page):
    text = text_of(page)
    rooms = {path.name for path in (REPOSITORY / "ganlab").iterdir()}
    named = {
        name
        for name in re.findall(r"`([\w./-]+\.(?:py|yaml|md|sbatch|sh))`", text)
        if name.split("/")[0] in rooms | {"ganlab", "configs", "benchmarks", "tests", "launch"}
    }
    missing = [
        name for name in sorted(named) if not any((REPOSITORY / base / name).exists() for base in ("", "ganlab"))
    ]
    assert not missing
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name for names in re.findall(r"ganlab\[([\w,]+)\]", text) for name in names.split(",")} <= set(extras)


SLUG = re.compile(r"[^\w\- ]")


def anchors_of(path):
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", documents.FENCED.sub("", path.read_text()), re.MULTILINE)
    described = re.findall(r"^::: (.*)$", path.read_text(), re.MULTILINE)
    return {*described, *(SLUG.sub("", heading.lower()).replace(" ", "-") for heading in headings)}


@EVERY
def test_links_lead_somewhere(page):
    folder = (REPOSITORY / page).parent
    for link in re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", documents.FENCED.sub("", text_of(page))):
        target, _, anchor = link.partition("#")
        path = folder / target if target else REPOSITORY / page
        assert path.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors_of(path), f"{page}: {link}"


def test_the_configs_of_the_tables_exist():
    for page, pattern in (("README.md", r"`(\w+/\w+)`"), ("docs/papers.md", r"`(\w+/\w+)\.yaml")):
        names = [
            name for line in text_of(page).splitlines() if line.startswith("|") for name in re.findall(pattern, line)
        ]
        assert len(names) > 20 and not [
            name for name in names if not (REPOSITORY / "configs" / f"{name}.yaml").exists()
        ]


def test_the_map_of_the_house_names_what_is_there():
    house = documents.block("docs/architecture.md", "text", "ganlab/types.py")
    names = [name for line in house.splitlines() for name in re.findall(r"ganlab/[\w/]+(?:\.py)?", line.split("  ")[0])]
    assert len(names) > 10 and all((REPOSITORY / name).exists() for name in names)


@pytest.mark.slow
def test_a_reader_of_the_page_has_a_gan_of_three_players(dataset, tmp_path, monkeypatch, capsys):
    documents.write_files("docs/your-own-gan.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").symlink_to(dataset)  # which is of the same size
    shown = {}
    for program, *words in documents.commands("docs/your-own-gan.md"):
        if program == "ganlab":
            more = ["data.image={height: 16, width: 16, channels: 1, classes: 3}", "logging.wandb=disabled"]
            more += ["train.total_nimg=9600", "train.tick_nimg=3200", "train.checkpoint_every_nimg=9600"]
            result = runs.ganlab(*words, *(more if words[0] in ("show", "train") else ()))
            assert result.exit_code == 0, result.output
            shown[words[0]] = result.output
    assert shown.keys() == {"show", "train", "sample", "export"}
    for name in ("encoder", "decoder", "critic", "autoencoder"):
        assert f"150 of the {name}\n" in shown["show"] or f"\n{name} " in shown["show"]
    assert "steps       150 of the autoencoder\n" in shown["show"]
    newest = checkpoints.newest(Path("runs/autoencoder/checkpoints"))
    assert newest is not None
    assert newest[1]["ganlab"]["clock"]["moves"] == {"autoencoder": 150, "critic": 150, "encoder": 150}
    assert Image.open("codes.png").size == (8 * 50 + 2, 8 * 50 + 2)
    assert Path("decoder/generator.safetensors").exists()
    rows = Path("runs/autoencoder/metrics.jsonl").read_text().splitlines()
    assert all(f'"{name}"' in rows[-1] for name in ("autoencoder/loss", "critic/prior_logit", "encoder/lr"))
    first, last = (float(re.search(r'"autoencoder/loss": ([\d.]+)', rows[at])[1]) for at in (0, -1))
    assert last < first
    capsys.readouterr()
    runpy.run_path("use.py")
    assert capsys.readouterr().out.startswith("(16, 1, 16, 16) Clock(")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits/dcgan", "mnist/bigan", "cifar10/sngan"])
def test_the_costs_of_families_are_those_of_show(name, monkeypatch):
    (row,) = re.findall(rf"^\| `{name}.yaml` \|(.*)\|$", text_of("docs/families.md"), re.MULTILINE)
    _, generator, discriminator, held, image, batch = (cell.strip() for cell in row.split("|"))
    monkeypatch.chdir(REPOSITORY / "tests")  # where no data are
    shown = runs.ganlab("show", REPOSITORY / "configs" / f"{name}.yaml").output
    forward, memory = (re.search(rf"^{word} +(.*)$", shown, re.MULTILINE)[1] for word in ("forward", "memory"))
    assert f"{generator} generator" in forward and f"{discriminator} discriminator" in forward
    assert f"{held} held, and {image} for each image" in memory and f"\nbatch       {batch} over" in shown
