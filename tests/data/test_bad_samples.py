"""Bad samples in a run: replaced, listed, counted over all processes, and too many of them."""

import json
import re
import shutil
from pathlib import Path

import jobs
import numpy as np
import pytest
import tiny_runs as runs

from ganlab.data.format.shards import Index


@pytest.fixture
def damaged(dataset, tmp_path, flip):
    """The dataset with so many damaged samples, spread over the shards; and their numbers."""

    def damaged(count):
        folder = Path(shutil.copytree(dataset, tmp_path / "damaged"))
        index = Index.open(folder)
        samples = list(range(0, len(index), len(index) // count))[:count]
        for place in index.places(np.array(samples), index.image.height):
            flip(folder / index.shards[place.shard].name, place.offset + 20)
        return folder, samples

    return damaged


def listed(run):
    return [json.loads(line) for line in (run / "bad_samples.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_goes_on_past_a_few_bad_samples_and_lists_each_once(damaged, tmp_path):
    folder, samples = damaged(3)
    config, run = runs.write_config(tmp_path, folder), tmp_path / "run"
    result = runs.ganlab("train", config, f"run={run}")
    assert result.exit_code == 0 and "bad samples were replaced; they are listed in" in result.stderr
    rows = listed(run)
    assert sorted(row["sample"] for row in rows) == samples
    row = next(row for row in rows if row["sample"] == samples[1])
    offset = int(Index.open(folder).samples["offset"][samples[1]])
    assert row["shard"] == f"{folder}/shard-000000.tar" and row["key"] == f"{samples[1]:09d}.png"
    assert row["offset"] == offset and "crc32" in row["cause"]
    runs.done(config, f"run={run}", "train.total_nimg=960")
    assert listed(run) == rows  # the second half has met them again


def test_a_run_with_too_many_bad_samples_stops_with_their_list(damaged, tmp_path):
    folder, _ = damaged(6)
    config, run = runs.write_config(tmp_path, folder), tmp_path / "run"
    said = runs.refused_at_work("train", config, f"run={run}", "data.max_bad=4")
    # one of them is too many; a thread beside it may have met another by then
    count = int(re.search(r"ganlab: ([56]) bad samples, more than the 4 that data\.max_bad allows:", said)[1])
    assert said.count("crc32") == count <= len(listed(run))


@pytest.mark.slow
@pytest.mark.multi
def test_two_processes_count_together(damaged, tmp_path):
    """Neither meets more than four of the six bad samples in the first epoch, both together do."""
    folder, samples = damaged(6)
    config, run = jobs.write_config(tmp_path, folder), tmp_path / "run"
    process = jobs.start(
        "launch/torchrun.sh", config, f"run={run}", "data.max_bad=5", "train.tick_nimg=48", PROCESSES="2"
    )
    said, _ = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "6 bad samples, more than the 5 that data.max_bad allows" in said
    assert sorted(row["sample"] for row in listed(run)) == samples
