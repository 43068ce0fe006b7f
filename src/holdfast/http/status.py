"""How a worker is, over HTTP: ``/health``, ``/ready`` and ``/metrics``, for those who watch, restart and scrape it."""

from __future__ import annotations

import errno
import logging
import re
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import msgspec

from holdfast.errors import UsageError
from holdfast.events import LOGGER
from holdfast.worker.health import Health

LOOPBACK = "127.0.0.1"
MOST_REQUESTS = 16
"""So many requests are answered at once; further ones are turned away."""
PATIENCE = 5.0
"""Seconds that a client has for its request."""
PATHS = "/health, /ready and /metrics"

_JSON, _TEXT = "application/json", "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def parse_place(text: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``, without a host that of this machine alone; ``UsageError`` when it is something else."""
    found = re.fullmatch(r"(?:(?:\[([^]]+)\]|([^:]*)):)?(\d{1,5})", text)
    if found is None or int(found[3]) > 65_535:
        raise UsageError(f"{text!r} is no place to listen at: write a port, as in 9000, or 0.0.0.0:9000")
    return found[1] or found[2] or LOOPBACK, int(found[3])


class StatusServer:
    """Answers at ``host`` and ``port`` (0: any that is free) from ``start`` to ``stop``, in threads of its own.

    ``health`` tells how the worker is, and must not block; ``metrics`` returns what ``/metrics`` serves, or is a text:
    why there is nothing, and what to do. ``UsageError`` when the place cannot be had.

    ``/health`` is 200 while the worker lives, ``/ready`` while it also leases; else they are 503. Both say why.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Callable[[], Health],
        metrics: Callable[[], bytes] | str,
        logger: logging.Logger = LOGGER,
    ) -> None:
        try:
            self._server = _Server(host, port, _Answers(health, metrics, logger))
        except OSError as error:
            raise UsageError(f"the status cannot be served at {_place(host, port)}: {_advice(error)}") from error
        self.url = f"http://{_place(host, self._server.server_address[1])}"
        """Where it answers."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="holdfast-status", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and let the port go. May be repeated."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "something else listens there; choose another port, or 0 for any that is free"
        case errno.EACCES:
            return "ports below 1024 are the system's; choose a higher one"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; 0.0.0.0 stands for all it has"
    return str(error)


class _Answers(msgspec.Struct):
    """What is answered to whom."""

    health: Callable[[], Health]
    metrics: Callable[[], bytes] | str
    logger: logging.Logger

    def to(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Return the status, the type and the body for a path."""
        if path in ("/health", "/ready"):
            health = self.health()
            well = health.live and (health.ready or path == "/health")
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _JSON, msgspec.json.encode(health) + b"\n"
        if path != "/metrics":
            return HTTPStatus.NOT_FOUND, _TEXT, f"there is nothing here; there are {PATHS}\n".encode()
        if isinstance(self.metrics, str):
            return HTTPStatus.NOT_FOUND, _TEXT, f"{self.metrics}\n".encode()
        return HTTPStatus.OK, _PROMETHEUS, self.metrics()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, answers: _Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answers = answers
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own looks up the machine's name, which may take seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.answers.logger.debug("a request for the status failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE
    server_version, sys_version = "holdfast", ""

    def do_GET(self) -> None:
        try:
            status, sort, body = self.server.answers.to(self.path.partition("?")[0])
        except Exception as error:
            self.server.answers.logger.exception("the status cannot be told")
            status, sort, body = HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{type(error).__name__}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", sort)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: probes come every few seconds."""
