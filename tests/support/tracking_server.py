"""A tracking server on this machine that keeps nothing, and behaves as a test asks it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
        pass

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        endpoint = self.path.partition("?")[0].rpartition("/mlflow/")[2]
        self.server.seen.append((self.command, endpoint, dict(self.headers), body))
        try:
            status, headers, content = self.server.behave(self, endpoint, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client has gone

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of http.server


Behaviour = Callable[[Handler, str, bytes], Reply]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, behave: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave = behave
        self.over = threading.Event()
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        """Method, endpoint, headers and body of every request."""

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def run_id(self) -> str:
        """Of the one run that it makes. MLflow's client keeps what it knows of a run by its id."""
        return f"{self.server_address[1]:032x}"

    def endpoints(self) -> list[str]:
        return [endpoint for _, endpoint, _, _ in self.seen]


@contextmanager
def serving(behave: Behaviour) -> Iterator[Server]:
    """A server, for as long as the context lasts."""
    server = Server(behave)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


def as_json(content: Any, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


def well(handler: Handler, endpoint: str, body: bytes) -> Reply:
    """As MLflow's server answers what logging asks for."""
    run_id = handler.server.run_id
    info = {
        "run_id": run_id,
        "run_uuid": run_id,
        "experiment_id": "7",
        "status": "RUNNING",
        "artifact_uri": f"mlflow-artifacts:/7/{run_id}/artifacts",
        "lifecycle_stage": "active",
    }
    experiment = {"experiment_id": "7", "name": "e", "lifecycle_stage": "active"}
    answers = {
        "experiments/get-by-name": {"experiment": experiment},
        "experiments/get": {"experiment": experiment},
        "runs/create": {"run": {"info": info, "data": {}}},
        "runs/get": {"run": {"info": info, "data": {}}},
        "runs/update": {"run_info": info},
    }
    return as_json(answers.get(endpoint, {}))


def hang(handler: Handler, endpoint: str, body: bytes) -> Reply:
    """Take the request, and say nothing."""
    handler.server.over.wait(60)
    raise ConnectionError


def drip(handler: Handler, endpoint: str, body: bytes) -> Reply:
    """Send what never ends, a byte at a time, each sooner than any time-out for a byte."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not handler.server.over.is_set():
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.2)
    raise ConnectionError


def but(behave: Behaviour, *endpoints: str) -> Behaviour:
    """Well, but at these endpoints otherwise."""

    def mixed(handler: Handler, endpoint: str, body: bytes) -> Reply:
        return (behave if endpoint in endpoints else well)(handler, endpoint, body)

    return mixed
