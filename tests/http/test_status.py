"""The status over HTTP: what is answered, to whom, and what a newcomer hears when it cannot be served."""

import http.client
import json
import socket
import threading

import pytest

from holdfast.errors import UsageError
from holdfast.http.status import MOST_REQUESTS, StatusServer, parse_place
from holdfast.worker.health import Health

WELL = Health(live=True, ready=True)


@pytest.fixture
def serve():
    """Serves what is given, and returns what asks for a path."""
    servers = []

    def start(health=lambda: WELL, metrics=lambda: b"one 1\n", host="127.0.0.1"):
        server = StatusServer(host, 0, health=health, metrics=metrics)
        servers.append(server)
        server.start()

        def ask(path, method="GET"):
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            return answer.status, answer.headers["Content-Type"], body

        ask.url = server.url
        return ask

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    ("health", "alive", "ready"),
    [
        (WELL, 200, 200),
        (Health(live=True, ready=False, why="paused"), 200, 503),
        (Health(live=False, ready=False, why="stuck"), 503, 503),
    ],
    ids=["well", "hindered", "ill"],
)
def test_health_and_readiness_are_told_by_status_and_reason(serve, health, alive, ready):
    ask = serve(lambda: health)

    assert ask("/health")[:2] == (alive, "application/json")
    status, _, body = ask("/ready")
    assert status == ready
    assert json.loads(body) == {"live": health.live, "ready": health.ready, "why": health.why}


def test_metrics_come_in_the_format_that_prometheus_asks_for(serve):
    assert serve()("/metrics?name=x") == (200, "text/plain; version=0.0.4; charset=utf-8", "one 1\n")


def test_without_the_extra_the_metrics_are_not_there_and_it_is_said_how_to_get_them(serve):
    status, _, body = serve(metrics="metrics need prometheus-client: pip install 'holdfast[metrics]'")("/metrics")

    assert status == 404
    assert "pip install 'holdfast[metrics]'" in body


def test_any_other_path_is_answered_with_those_there_are(serve):
    status, _, body = serve()("/metric")

    assert (status, body) == (404, "there is nothing here; there are /health, /ready and /metrics\n")


def test_a_head_has_no_body(serve):
    assert serve()("/health", "HEAD")[0::2] == (200, "")


def test_what_fails_is_an_error_of_one_answer(serve, caplog):
    ask = serve(metrics=lambda: 1 / 0)

    assert ask("/metrics")[0::2] == (500, "ZeroDivisionError\n")
    assert ask("/health")[0] == 200
    assert "the status cannot be told" in caplog.text


def test_more_requests_than_there_is_room_for_are_turned_away(serve):
    gate, inside = threading.Event(), threading.Semaphore(0)

    def slow():
        inside.release()
        gate.wait()
        return b""

    ask = serve(metrics=slow)
    threads = [threading.Thread(target=ask, args=("/metrics",)) for _ in range(MOST_REQUESTS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        inside.acquire()

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask("/health")

    gate.set()
    for thread in threads:
        thread.join()


def test_it_answers_on_ipv6_too(serve):
    ask = serve(host="::1")

    assert ask.url.startswith("http://[::1]:")
    assert ask("/health")[0] == 200


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:9000", ("0.0.0.0", 9000)),
        ("[::]:0", ("::", 0)),
        ("box.local:80", ("box.local", 80)),
    ],
)
def test_a_place_is_a_port_with_or_without_a_host(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "http", "localhost", "9000:localhost", "70000", "a:b:1"])
def test_what_is_no_place_is_answered_with_one(text):
    with pytest.raises(UsageError, match="write a port, as in 9000"):
        parse_place(text)


def test_a_port_that_is_taken_is_said_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: something else listens there; choose another port"):
            StatusServer("127.0.0.1", port, health=lambda: WELL, metrics="")


def test_an_address_that_is_not_here_is_said_with_what_to_do():
    with pytest.raises(UsageError, match=r"this machine has no such address; 0\.0\.0\.0 stands for all"):
        StatusServer("192.0.2.1", 0, health=lambda: WELL, metrics="")


def test_stopping_twice_or_before_the_start_is_harmless():
    server = StatusServer("127.0.0.1", 0, health=lambda: WELL, metrics="")
    server.stop()
    server.stop()
