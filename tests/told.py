"""Folders of runs whose records are written by hand, for pages: nothing is trained."""

import json
import math
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

HOSTILE = """wide <b>&"x' $\\frac"""
"""The name of a run that would be markup, or mathematics, if it were not text."""
SCRIPT = "</script><script>document.title = 'owned'</script>"
TERM = "discriminator/<img src=x onerror=alert(1)>"


def metrics(count: int, tick: int = 1000) -> list[dict]:
    """Lines of metrics, of which one is not finite and one has a spike."""
    rows = []
    for k in range(1, count + 1):
        row = {
            "nimg": k * tick,
            "seconds": 2.0 * k,
            "images_per_second": 500.0 + k % 7,
            "discriminator/loss": 1 + 1 / k,
            "discriminator/real_logit": math.cos(k / 9),
            "discriminator/fake_logit": -math.cos(k / 9),
            "discriminator/real_logit_spread": 0.5,
            "discriminator/real_called_real": 0.75,
            "discriminator/gradient_norm": 1000.0 / k,
            "generator/gradient_norm": 10.0 / k,
            TERM: 0.1 * k,
            "generator/loss": 1.5 - 0.5 / k,
            "discriminator/lr": 2e-4,
            "seconds/data": 0.1,
            "seconds/discriminator": 1.1,
            "seconds/generator": 0.8,
            "memory_bytes": 2**30,
            "share": 0.2,
            "time": f"2026-11-26T{k // 3600 % 24:02}:{k // 60 % 60:02}:{k % 60:02}.000+00:00",
        }
        if k == count // 2:
            row["generator/loss"] = None
        rows.append(row)
    rows[count * 3 // 4]["discriminator/loss"] = 77.0
    return rows


def event(name: str, nimg: int, **facts: object) -> dict:
    """An event."""
    return {"event": name, "nimg": nimg, "time": "2026-11-26T10:00:00.000+00:00", "attempt": 0, **facts}


def write_run(folder: Path, lines: int = 20, grids: int = 4, seed: int = 0, **model: object) -> Path:
    """Write the folder of a run that was stopped and went on."""
    (folder / "samples").mkdir(parents=True)
    config = {
        "model": {"_target_": "ganlab.models.DCGAN", **model},
        "data": {"url": "https://me:hunter2@data.lab.org/faces.tar", "image": {"class_names": [SCRIPT, "cat"]}},
        "train": {"total_nimg": 1000 * lines},
        "run": str(folder),
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    write_lines(folder / "metrics.jsonl", metrics(lines) if lines else [])
    machine = {
        "command": f"ganlab train {SCRIPT} run=/{'long/' * 20}",
        "hardware": {"NVIDIA H100": 8},
        "hosts": 1,
        "versions": {"torch": "2"},
    }
    last = 1000 * lines
    write_lines(
        folder / "events.jsonl",
        [
            event("start", 0, **machine),
            event("phase", last // 4, height=32, width=32, batch=64),
            event(
                "not-finite", last // 2, player="generator", masked=0.5, parameters=[SCRIPT], terms=["generator/loss"]
            ),
            event("stop", last // 2, signal="SIGTERM", code=75),
            event("resume", last // 2, **machine),
            event("done", last),
        ],
    )
    rows = [
        {
            "format": 1,
            "name": f"fid50_{SCRIPT}",
            "metric": "fid",
            "value": 30.0 - at,
            "standard_error": 0.5,
            "floor": 2.0,
        }
        | {"nimg": at * 1000, "protocol": {"fakes": 50, "reals": SCRIPT}}
        for at in (5, 10)
    ]
    write_lines(folder / "results.jsonl", rows)
    draw = np.random.default_rng(seed)
    for k in range(grids):
        write_grid(folder, (k + 1) * last // max(grids, 1), draw)
    return folder


def write_lines(file: Path, rows: list[dict]) -> None:
    """Write JSON Lines."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_grid(folder: Path, nimg: int, draw: np.random.Generator, kind: str = "nimg", side: int = 102) -> None:
    """Write a picture of noise."""
    pixels = draw.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "samples" / f"{kind}-{nimg:012d}.png")
