"""The live page: it follows a run whatever happens to its files, and says when nobody answers."""

import http.client
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
import tiny_runs as runs
from browser import DRESSES, served, visit
from repository import REPOSITORY
from told import HOSTILE, SCRIPT, TERM, event, metrics, write_grid, write_lines, write_run

from ganlab.pages.server import listen
from ganlab.pages.watch import watching


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / HOSTILE)


@pytest.fixture
def address(run):
    with served(watching(run)) as url:
        yield url


def ask(url, path="/now"):
    """Return the status and the body of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def live(visited):
    """Wait until the page shows the run."""
    visited.page.locator("body[data-state=live]").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "dark"), DRESSES)
def test_the_page_is_sound(chromium, address, size, dark):
    with visit(chromium, address, size=size, dark=dark) as visited:
        live(visited)
        page = visited.page
        page.locator("#samples img").wait_for()
        assert page.locator("h1").inner_text() == HOSTILE and page.locator("img[src='x']").count() == 0
        assert page.locator("#charts svg", has_text=TERM).count() == 1
        assert page.locator("#events td", has_text=SCRIPT).count() == 1
        visited.check(f"watch-{size[0]}-{'dark' if dark else 'light'}")


@pytest.mark.slow
def test_the_page_follows_the_run(chromium, run, address):
    with visit(chromium, address) as visited:
        live(visited)
        summary, page = visited.page.locator("#summary"), visited.page

        def says(images):
            page.locator("#summary", has_text=f"DCGAN, {images} of 20,000 images shown").wait_for()

        says("20,000")
        write_lines(run / "new", metrics(12))  # a resume cuts lines off
        (run / "new").replace(run / "metrics.jsonl")
        says("12,000")
        *_, line = metrics(13)
        text = json.dumps(line) + "\n"
        with (run / "metrics.jsonl").open("a") as file:
            file.write(text[:70])
            file.flush()
            assert ask(address)[0] == 200 and "12,000" in summary.inner_text()
            file.write(text[70:])
        says("13,000")
        write_grid(run, 21_000, np.random.default_rng(1))
        page.get_by_alt_text("Samples after 21,000 images").wait_for()
        with (run / "events.jsonl").open("a") as file:
            file.write(json.dumps(event("rollback", 9000, to="the start")) + "\n")
        page.locator("#events td", has_text="rollback").wait_for()


@pytest.mark.slow
def test_a_run_that_has_only_begun(chromium, tmp_path):
    run = write_run(tmp_path / "begun", lines=0, grids=0)
    for name in ("metrics", "events", "results"):
        (run / f"{name}.jsonl").unlink()
    with served(watching(run)) as url, visit(chromium, url) as visited:
        live(visited)
        assert "No metrics yet" in visited.page.locator("#charts").inner_text()
        write_lines(run / "metrics.jsonl", metrics(3)[:2])
        visited.page.locator("#charts svg").first.wait_for()
        assert visited.page.locator("#summary").inner_text().endswith("shown, last line at 2026-11-26 00:00:02 UTC")
        (run / "metrics.jsonl").write_text("")  # begun anew
        visited.page.locator("#charts", has_text="No metrics yet").wait_for()


def test_nothing_is_sent_twice(address):
    status, body = ask(address)
    tag = json.loads(body)["tag"]
    assert status == 200 and ask(address, f"/now?seen={tag}") == (204, b"")
    assert ask(address, "/now?seen=other")[0] == 200


@pytest.mark.slow
def test_thirty_requests_at_a_time_are_answered(run, address):
    def one(number):
        if number % 10 == 0:
            with (run / "events.jsonl").open("a") as file:
                file.write(json.dumps(event("checkpoint", number)) + "\n")
        return ask(address)[0]

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(one, range(60)))
    assert set(answers) <= {200, 503} and answers.count(200) >= 30


@pytest.mark.parametrize("name", ["config.yaml", "..%2Fconfig.yaml", "%2e%2e/config.yaml", "nimg-1.png", "%00"])
def test_only_pictures_that_the_run_has_are_served(address, name):
    assert ask(address, f"/pictures/{name}")[0] == 404
    assert ask(address, "/pictures/nimg-000000020000.png")[0] == 200


@pytest.mark.slow
def test_a_server_that_was_killed_is_missed(chromium, run):
    command = [sys.executable, "-m", "ganlab", "watch", run, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        first, second = process.stdout.readline(), process.stdout.readline()
        url = first.split()[0]
        port = urlsplit(url).port
        assert re.search(rf"ssh -L {port}:127\.0\.0\.1:{port} \S+@\S+$", second)
        with visit(chromium, url) as visited:
            live(visited)
            process.kill()
            visited.page.locator("#trouble", has_text="is ganlab watch still running?").wait_for()
            assert visited.page.locator("#charts svg").count() > 8  # what was seen stays
            assert all(
                "net::ERR_" in error or "/now" in error for error in visited.errors
            )  # some cut short, some refused
            visited.errors.clear()
    finally:
        process.kill()
        process.wait()


def test_ctrl_c_ends_it(run):
    command = [sys.executable, "-m", "ganlab", "watch", run, "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and said == ""


def test_a_port_in_use_is_refused(run):
    with listen(0) as opened:
        port = opened.getsockname()[1]
        assert f"--port {port}: Address already in use" in runs.refused("watch", run, "--port", port)


def test_what_is_no_run_is_refused(tmp_path):
    assert "no run: there is no such folder" in runs.refused("watch", tmp_path / "none")
