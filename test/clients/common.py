"""What the scripts here share: the server's address, a question, and a check that `python -O` keeps."""

import sys

URL = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:8080"
BASE = "SmolLM2-135M-Instruct"
ADAPTER = "pirate"
QUESTION = "What is the capital of France?"
MESSAGES = [{"role": "user", "content": QUESTION}]


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_raises(kind, call, says=""):
    try:
        call()
    except kind as error:
        expect(says in str(error), error)
        return error
    raise AssertionError(f"{kind} was not raised")
