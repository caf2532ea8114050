"""The explorer's requests: what they answer, and one answer for each of what an attacker may send."""

import base64
import http.client
import io
import json
import socket
import struct
import threading
import zlib
from collections import Counter
from urllib.parse import urlsplit

import numpy as np
import pytest
import tiny_runs as runs
import torch
from browser import served
from PIL import Image
from repository import REPOSITORY
from test_server import get

from ganlab.experiment.load import load
from ganlab.latents.codes import of_seed
from ganlab.latents.explorer import opened
from ganlab.pages import explore
from ganlab.pages.explore import AT_WORK, LARGEST, Desk
from ganlab.types import UserError

pytestmark = pytest.mark.usefixtures("one_thread")
TOKEN = "a-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
MAKE = {**BEARER, "Content-Type": "application/json"}
NAMED = {"seed": 0, "image": 37}


@pytest.fixture(scope="module")
def explorer(finished):
    return opened(finished)


@pytest.fixture(scope="module")
def address(explorer):
    with served(Desk(explorer, TOKEN).application()) as url:
        yield urlsplit(url).netloc


def send(address, method, path, headers, body=b""):
    """Send a request as it is; return status and what was answered."""
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    if method == "POST" and not {"Content-Length", "Transfer-Encoding"} & headers.keys():
        headers = {**headers, "Content-Length": str(len(body))}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def ask(address, name, question=None, *, kind="application/json"):
    """Ask as the page does; return the answer."""
    body = question if isinstance(question, bytes) else json.dumps(question).encode()
    status, answer = send(address, "POST", f"/api/{name}", {**BEARER, "Content-Type": kind}, body)
    assert status == 200, answer
    return json.loads(answer)


def pixels_in(png):
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        return np.asarray(picture).astype(int)


def png_of(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


# --- what it answers


def test_it_says_what_there_is(address, finished):
    status, answer = send(address, "GET", "/api/about", BEARER)
    about = json.loads(answer)
    assert status == 200 and about.pop("weights") and about.pop("ganlab")
    assert about == {
        **{"format": 1, "run": "run", "nimg": 480, "images": [], "model": "DCGAN", "image": [16, 16], "latent": 8},
        **{"classes": ["0", "1", "2"], "directions": 8, "judges": True, "reals": True, "remakes": False},
        **{"truncation": 2.0, "layers": 0},
    }


@pytest.mark.parametrize("words", [(), ("--format", "hub", "--license", "mit")])
def test_an_exported_folder_has_no_discriminator_to_ask(finished, tmp_path, words):
    assert runs.ganlab("export", finished, "--out", tmp_path / "sent", *words).exit_code == 0
    sent = opened(tmp_path / "sent")
    assert sent.about()["judges"] is False
    with pytest.raises(UserError, match="sent: has no discriminator that could be asked"):
        sent.judged(*of_seed(sent.model, [0], 0))


def test_image_37_of_seed_0_is_the_one_that_sample_makes(address, finished):
    model = load(finished)
    wanted = model.sample([37, 5], 0)[:, 0].numpy().astype(int)
    images = ask(address, "make", {"codes": [NAMED, {**NAMED, "image": 5}]})["images"]
    assert all(np.abs(pixels_in(each["png"]) - pixels).max() <= 1 for each, pixels in zip(images, wanted, strict=True))
    code = images[0]["code"]
    assert code.items() >= NAMED.items() and len(code["latents"]) == 8
    del code["seed"], code["image"]
    again = ask(address, "make", {"codes": [code]})["images"][0]
    assert again["png"] == images[0]["png"] and "seed" not in again["code"]
    other = ask(address, "make", {"codes": [{**NAMED, "label": "2"}]})["images"][0]
    assert other["code"]["label"] == 2 and other["code"]["latents"] == code["latents"]


def test_moves_go_along_the_directions(address, explorer):
    (code,) = of_seed(explorer.model, [37], 0)
    answer = ask(address, "make", {"codes": [NAMED], "moves": [0, 1.5, -2]})["images"][0]["code"]
    wanted = code.latents + 1.5 * explorer.directions[1] - 2 * explorer.directions[2]
    assert answer["latents"] == pytest.approx(wanted.tolist()) and "seed" not in answer
    still = ask(address, "make", {"codes": [NAMED], "moves": [0, 0]})["images"][0]["code"]
    assert still["seed"] == 0  # nothing was moved


def test_directions_change_the_first_layer_most(explorer):
    weight = explorer.model.ema.layers[0].weight.detach()[:8]  # latent width 4 4
    change = torch.tensordot(explorer.directions, weight, 1).flatten(1).norm(dim=1)
    assert torch.allclose(change, torch.linalg.svdvals(weight.flatten(1)), rtol=1e-4)
    assert torch.allclose(explorer.directions @ explorer.directions.T, torch.eye(8), atol=1e-5)
    assert (explorer.directions.gather(1, explorer.directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_a_walk_begins_and_ends_where_it_was_asked_to(address):
    ends = [{**NAMED, "label": 0}, {**NAMED, "image": 4, "label": 2}]
    answer = ask(address, "walk", {"from": ends[0], "to": ends[1], "steps": 5})["images"]
    made = ask(address, "make", {"codes": ends})["images"]
    assert answer[0] == made[0] and answer[-1] == made[1]
    assert [each["code"]["label"] for each in answer] == [0, 0, 0, 2, 2]


def test_the_nearest_reals_are_the_nearest(address, explorer, dataset):
    made = ask(address, "make", {"codes": [NAMED]})["images"][0]
    answer = ask(address, "nearest", {"code": NAMED})
    reals = explorer.reals.images.dataset
    out = np.empty((240, 16, 16, 1), np.uint8)
    for number, each in enumerate(out):
        reals.read(number, each)
    distances = np.sqrt((((out[..., 0] - pixels_in(made["png"])) / 255) ** 2).mean((1, 2)))
    assert answer["compared"] == 240
    assert [each["number"] for each in answer["images"]] == np.argsort(distances)[:8].tolist()
    assert [each["distance"] for each in answer["images"]] == pytest.approx(np.sort(distances)[:8].tolist(), rel=1e-4)
    assert np.array_equal(pixels_in(answer["images"][0]["png"]), out[np.argmin(distances), ..., 0])


def test_a_picture_of_any_size_is_found_again(address, explorer, monkeypatch):
    monkeypatch.setattr("ganlab.latents.explorer.PROJECTION_STEPS", 100)
    (image,) = explorer.pixels(of_seed(explorer.model, [3], 0))
    large = np.asarray(image[0]).repeat(3, 0).repeat(3, 1)
    wide = np.stack([np.pad(large, ((0, 0), (24, 24)))] * 3, -1)  # it is cut to its centre, and made grey
    answer = ask(address, "project", png_of(wide), kind="image/png")
    assert answer["psnr"] > 15 and len(answer["images"]) == 1
    assert np.abs(pixels_in(answer["given"]) - image[0].numpy()).mean() < 12
    assert "seed" not in answer["images"][0]["code"]


def test_d_is_asked(address, explorer):
    answer = ask(address, "judge", {"code": NAMED})["images"]
    assert [each["title"] for each in answer] == ["image", "what D would change", "D near this image"]
    assert pixels_in(answer[1]["png"]).shape == (16, 16, 3) and pixels_in(answer[2]["png"]).shape == (512, 512, 3)


def test_many_at_a_time_are_answered_or_told_to_wait(address):
    found = Counter()

    def one(number):
        question = json.dumps({"codes": [{"seed": number, "image": k} for k in range(8)]}).encode()
        found[send(address, "POST", "/api/make", MAKE, question)[0]] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.keys() <= {200, 503} and found[200] >= AT_WORK and found.total() == 30


# --- what it refuses


def bomb(side):
    """A PNG of a few hundred bytes that says it has side x side pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def asked(**question):
    return json.dumps(question).encode()


LATENTS = [0.5] * 8


def ending(last):
    """Latents with that at their end."""
    return asked(codes=[{"latents": [*LATENTS[1:], last], "label": 0}])


ATTACKS = {
    "no token": ("POST", "/api/make", {"Content-Type": "application/json"}, asked(codes=[NAMED]), 401),
    "another token": ("POST", "/api/make", {**MAKE, "Authorization": "Bearer b"}, asked(codes=[NAMED]), 401),
    "a longer token": ("POST", "/api/make", {**MAKE, "Authorization": f"Bearer {TOKEN}a"}, asked(codes=[NAMED]), 401),
    "another scheme": ("POST", "/api/make", {**MAKE, "Authorization": f"Basic {TOKEN}"}, asked(codes=[NAMED]), 401),
    "a token beyond ASCII": ("POST", "/api/make", {**MAKE, "Authorization": "Bearer \xe9"}, asked(codes=[NAMED]), 401),
    "a token in the address": ("GET", "/api/about?token=a-token", {}, b"", 401),
    "no token for what there is": ("GET", "/api/about", {}, b"", 401),
    "a foreign host": ("POST", "/api/make", {**MAKE, "Host": "evil.test"}, asked(codes=[NAMED]), 400),
    "a foreign page": ("POST", "/api/make", {**MAKE, "Origin": "http://evil.test"}, asked(codes=[NAMED]), 403),
    "a page of no origin": ("POST", "/api/make", {**MAKE, "Origin": "null"}, asked(codes=[NAMED]), 403),
    "a name that begins alike": ("POST", "/api/make", {**MAKE, "Origin": "http://localhost.evil.test"}, b"{}", 403),
    "a user called localhost": ("POST", "/api/make", {**MAKE, "Origin": "http://localhost@evil.test"}, b"{}", 403),
    "an origin that is none": ("POST", "/api/make", {**MAKE, "Origin": "http://["}, asked(codes=[NAMED]), 403),
    "its own page": ("POST", "/api/make", {**MAKE, "Origin": "http://localhost:9000"}, asked(codes=[NAMED]), 200),
    "a form": ("POST", "/api/make", {**BEARER, "Content-Type": "text/plain"}, asked(codes=[NAMED]), 415),
    "no kind": ("POST", "/api/make", BEARER, asked(codes=[NAMED]), 415),
    "a read by GET": ("GET", "/api/make", BEARER, b"", 405),
    "a file above": ("GET", "/../explore.py", BEARER, b"", 404),
    "a file above, encoded": ("GET", "/%2e%2e%2fexplore.py", BEARER, b"", 404),
    "a file of the system": ("GET", "//etc/passwd", BEARER, b"", 404),
    "no such request": ("POST", "/api/quit", MAKE, b"{}", 404),
    "a chunked body": ("POST", "/api/make", {**MAKE, "Transfer-Encoding": "chunked"}, b"0\r\n\r\n", 411),
    "a negative length": ("POST", "/api/make", {**MAKE, "Content-Length": "-1"}, b"", 400),
    "a large body": ("POST", "/api/make", {**MAKE, "Content-Length": str(LARGEST + 1)}, b"", 413),
    "no JSON": ("POST", "/api/make", MAKE, b"{", 400),
    "no text": ("POST", "/api/make", MAKE, b"\xff\xfe\x00", 400),
    "no object": ("POST", "/api/make", MAKE, b"[]", 400),
    "a deep one": ("POST", "/api/make", MAKE, b"[" * 200_000, 400),
    "a long number": ("POST", "/api/make", MAKE, b'{"codes": ' + b"9" * 100_000 + b"}", 400),
    "no images": ("POST", "/api/make", MAKE, asked(codes=[]), 400),
    "too many images": ("POST", "/api/make", MAKE, asked(codes=[NAMED] * 65), 400),
    "a seed that is none": ("POST", "/api/make", MAKE, asked(codes=[{"seed": 1.5, "image": 0}]), 400),
    "a seed of truth": ("POST", "/api/make", MAKE, asked(codes=[{"seed": True, "image": 0}]), 400),
    "a far image": ("POST", "/api/make", MAKE, asked(codes=[{"seed": 0, "image": 10**12}]), 400),
    "a far seed": ("POST", "/api/make", MAKE, asked(codes=[{"seed": 2**63, "image": 0}]), 400),
    "a name alone": ("POST", "/api/make", MAKE, asked(codes=[{"seed": 0}]), 400),
    "an unknown key": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "path": "/etc/passwd"}]), 400),
    "a class that is not there": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "label": 3}]), 400),
    "half of a letter": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "label": "\ud800"}]), 400),
    "few latents": ("POST", "/api/make", MAKE, asked(codes=[{"latents": [0.5], "label": 0}]), 400),
    "latents and no class": ("POST", "/api/make", MAKE, asked(codes=[{"latents": LATENTS}]), 400),
    "latents that are none": (
        "POST",
        "/api/make",
        MAKE,
        ending("0"),
        400,
    ),
    "NaN": ("POST", "/api/make", MAKE, ending(float("nan")), 400),
    "far latents": ("POST", "/api/make", MAKE, ending(101), 400),
    "a latent beyond all floats": ("POST", "/api/make", MAKE, ending(10**400), 400),
    "whole latents": ("POST", "/api/make", MAKE, asked(codes=[{"latents": [0] * 8, "label": 0}]), 200),
    "infinite moves": ("POST", "/api/make", MAKE, asked(codes=[NAMED], moves=[float("inf")]), 400),
    "moves that are no number": ("POST", "/api/make", MAKE, asked(codes=[NAMED], moves=[float("nan")]), 400),
    "moves beyond all floats": ("POST", "/api/make", MAKE, asked(codes=[NAMED], moves=[10**400]), 400),
    "many moves": ("POST", "/api/make", MAKE, asked(codes=[NAMED], moves=[0] * 9), 400),
    "a long walk": ("POST", "/api/walk", MAKE, asked(**{"from": NAMED, "to": NAMED, "steps": 65}), 400),
    "a walk to nowhere": ("POST", "/api/walk", MAKE, asked(**{"from": NAMED, "steps": 8}), 400),
    "a negative truncation": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "truncation": -1}]), 400),
    "no truncation": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "truncation": "all"}]), 400),
    "an endless truncation": ("POST", "/api/make", MAKE, asked(codes=[{**NAMED, "truncation": 1e999}]), 400),
    "layers that are not there": ("POST", "/api/mix", MAKE, asked(**{"from": NAMED, "to": NAMED, "layer": 0}), 400),
    "latents of layers": ("POST", "/api/make", MAKE, asked(codes=[{"latents": [LATENTS] * 2, "label": 0}]), 400),
    "a picture as JSON": ("POST", "/api/project", MAKE, b"{}", 415),
    "no picture": ("POST", "/api/project", {**BEARER, "Content-Type": "image/png"}, b"GIF89a", 400),
    "half a picture": ("POST", "/api/project", {**BEARER, "Content-Type": "image/png"}, bomb(16)[:60], 400),
    "a picture of 3.6 Gpixel": ("POST", "/api/project", {**BEARER, "Content-Type": "image/png"}, bomb(60_000), 400),
    "what it cannot do": ("POST", "/api/remake", {**BEARER, "Content-Type": "image/png"}, bomb(16), 400),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_has_one_answer(address, name):
    method, path, headers, body, status = ATTACKS[name]
    found, answer = send(address, method, path, headers, body)
    assert found == status, answer
    assert b"Traceback" not in answer and str(REPOSITORY).encode() not in answer
    assert get(address, "/api/about", **BEARER)[0] == 200  # and it is still there


def test_a_slow_client_is_told_so_and_holds_nobody_up(address, monkeypatch):
    monkeypatch.setattr(explore, "SECONDS", 0.5)
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        lines = f"POST /api/make HTTP/1.1\r\nHost: {address}\r\nContent-Length: 10\r\n"
        slow.sendall(f"{lines}Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\r\n{{".encode())
        assert get(address, "/api/about", **BEARER)[0] == 200
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_request_too_many_is_told_to_wait(address, explorer):
    def one():
        found.append(send(address, "POST", "/api/make", MAKE, asked(codes=[NAMED]))[0])

    found = list[int]()
    with explorer.using:  # as a long request would
        threads = [threading.Thread(target=one) for _ in range(AT_WORK + 3)]
        for thread in threads:
            thread.start()
        while len(found) < 3:
            pass
    for thread in threads:
        thread.join()
    assert Counter(found) == {200: AT_WORK, 503: 3}
