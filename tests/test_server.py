"""The server of local pages: whom it answers, with which headers, and what it says if it cannot begin."""

import http.client
import re
import socket
from urllib.parse import urlsplit

import pytest
from browser import served
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ganlab.pages import server
from ganlab.types import UserError

APP = server.application([Route("/", lambda _: PlainTextResponse("here")), *server.files("style.css")])


@pytest.fixture(scope="module")
def address():
    with served(APP) as url:
        yield urlsplit(url).netloc


def get(address, path, **headers):
    """Ask as a client may that keeps to no rules; return status, headers and body."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("localhost:9000", 200),  # ssh -L 9000:127.0.0.1:8765
        ("evil.test:{port}", 400),
        ("127.0.0.1.evil.test", 400),
        ("localhost@evil.test", 400),
        ("", 400),
    ],
)
def test_a_browser_must_call_this_machine_by_its_own_name(address, host, status):
    _, port = address.split(":")
    assert get(address, "/", Host=host.format(port=port))[0] == status


def test_every_answer_has_the_headers_that_keep_other_sites_out(address):
    for path, host, status in (("/", address, 200), ("/none", address, 404), ("/", "evil.test", 400)):
        found, headers, _ = get(address, path, Host=host)
        headers = {name.title(): value for name, value in headers.items()}
        assert found == status and headers.items() >= server.HEADERS.items()
        assert "Server" not in headers


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/style.css/../../server.py", "//etc/passwd", "/report.html"]
)
def test_no_path_is_made_from_a_request(address, path):
    assert get(address, path)[0] == 404


def test_files_and_the_icon_are_there(address):
    status, headers, body = get(address, "/style.css")
    assert (status, body) == (200, (server.WEB / "style.css").read_bytes()) and "text/css" in headers["content-type"]
    assert get(address, "/favicon.ico")[0] == 204


def test_it_listens_on_this_machine_alone():
    with server.listen(0) as opened:
        assert opened.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use_is_named_with_another_one():
    with server.listen(0) as opened, pytest.raises(UserError) as refused:
        server.listen(port := opened.getsockname()[1])
    assert re.fullmatch(rf"--port {port}: Address already in use; choose another one, .*", str(refused.value))


def test_one_connection_too_many_is_told_so(address):
    host, port = address.split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(server.CONNECTIONS)]
    try:
        assert get(address, "/")[0] == 503
    finally:
        for connection in held:
            connection.close()
