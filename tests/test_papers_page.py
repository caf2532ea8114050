"""The page of the literature's numbers is what the kept rows and the shipped configs make of it."""

import importlib.util
import json
import re

import pytest
from repository import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def papers(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(
        "papers_page", BENCHMARKS / "papers.py"
    )  # `papers` are the tests' games
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_page_is_that_of_the_kept_rows_and_shipped_configs(papers):
    assert (BENCHMARKS / "PAPERS.md").read_text() == papers.page()


def test_what_a_paper_says_is_of_a_module_that_keeps_rows(papers):
    modules = {
        path.stem for folder in ("closed_forms", "systems", "large") for path in (BENCHMARKS / folder).glob("*.py")
    }
    files = {path.stem: path.read_text().splitlines() for path in (BENCHMARKS / "rows").glob("*.jsonl")}
    assert {said.module for said in papers.SAID} | set(files) <= modules
    for said in papers.SAID:
        rows = [json.loads(line) for line in files.get(said.module, ())]
        told = [row for row in rows if row["system"].startswith(said.system)]
        assert not rows or any(re.search(said.quantity, row["quantity"]) for row in told), said
