"""The proxy of the tests itself: each fault does to a connection what it says, and healed it does nothing more."""

import socket
import threading
import time

import pytest

from tests.faults.proxy import Proxy, Way


class Answering:
    """A server that answers each line with ``re: line``, and knows what it has been asked."""

    def __init__(self):
        self.asked = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = self._listening.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.asked.append(line)
                    connection.sendall(b"re: " + line)
        except OSError:
            pass

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # what waits in accept() wakes up
        self._listening.close()


@pytest.fixture
def server():
    server = Answering()
    yield server
    server.close()


@pytest.fixture
def proxy(server):
    with Proxy(server.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    with Client(proxy) as client:
        yield client


class Client:
    """A connection through the proxy."""

    def __init__(self, proxy):
        self._socket = socket.create_connection(proxy.address, timeout=5)

    def send(self, line):
        self._socket.sendall(line)

    def read(self, timeout=5.0):
        """Read a line, or what came before the connection ended, or before the time was over."""
        self._socket.settimeout(timeout)
        got = bytearray()
        try:
            while not got.endswith(b"\n"):
                piece = self._socket.recv(1 << 16)
                if not piece:
                    return got + b"<end>"
                got += piece
        except ConnectionResetError:
            return got + b"<reset>"
        except TimeoutError:
            return got + b"<silence>"
        return bytes(got)

    def ask(self, line):
        self.send(line)
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._socket.close()


def test_without_a_fault_everything_goes_through(proxy, client):
    large = b"x" * 3_000_000 + b"\n"

    reader = threading.Thread(target=client.send, args=(large,))
    reader.start()
    answer = client.read()
    reader.join()

    assert answer == b"re: " + large
    assert proxy.connections == 1


def test_a_cut_resets_what_is_open_and_lets_new_ones_in(proxy, client):
    client.ask(b"one\n")

    proxy.cut()

    assert client.read() == b"<reset>"
    with Client(proxy) as another:
        assert another.ask(b"two\n") == b"re: two\n"


def test_a_reply_is_cut_after_the_server_has_done_its_work(server, proxy, client):
    proxy.cut_reply()

    assert client.ask(b"one\n") == b"<reset>"
    assert proxy.fired.wait(5)
    assert server.asked == [b"one\n"]


def test_a_reply_is_cut_in_the_middle(proxy, client):
    proxy.cut_reply(after=6)

    assert client.ask(b"one\n") == b"re: on<reset>"


def test_a_request_that_is_cut_never_arrives(server, proxy, client):
    proxy.cut_request()

    assert client.ask(b"one\n") == b"<reset>"
    assert server.asked == []


def test_a_cut_waits_for_its_request_and_happens_once(server, proxy, client):
    with Client(proxy) as beside:
        proxy.cut_reply(of=b"settle")

        assert client.ask(b"lease\n") == b"re: lease\n"
        assert beside.ask(b"settle\n") == b"<reset>"
        assert client.ask(b"settle\n") == b"re: settle\n"


def test_half_open_connections_lose_what_is_sent(server, proxy, client):
    client.ask(b"one\n")
    proxy.swallow(Way.REPLY)

    client.send(b"two\n")

    assert client.read(timeout=0.1) == b"<silence>"
    assert server.asked == [b"one\n", b"two\n"]


def test_a_healed_proxy_answers_new_connections(proxy, client):
    proxy.swallow()
    client.send(b"lost\n")

    proxy.heal()

    with Client(proxy) as another:
        assert another.ask(b"two\n") == b"re: two\n"


def test_latency_is_added_both_ways(proxy, client):
    client.ask(b"one\n")
    proxy.delay(0.05)

    begun = time.monotonic()
    client.ask(b"two\n")

    assert time.monotonic() - begun >= 0.1


def test_dripped_bytes_arrive_one_at_a_time_and_whole(proxy, client):
    proxy.drip(size=1)

    assert client.ask(b"a longer line\n") == b"re: a longer line\n"


def test_a_proxy_that_is_down_refuses_and_is_up_again_on_its_port(proxy, client):
    client.ask(b"one\n")

    proxy.down()

    assert client.read() == b"<reset>"
    with pytest.raises(ConnectionRefusedError):
        Client(proxy)
    proxy.up()
    with Client(proxy) as another:
        assert another.ask(b"two\n") == b"re: two\n"


def test_a_server_that_is_gone_ends_the_connection(proxy):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.server = gone.getsockname()

    try:
        with Client(proxy) as client:
            said = client.read()
    except ConnectionResetError:  # already while it connects
        said = b"<reset>"

    assert said == b"<reset>"
