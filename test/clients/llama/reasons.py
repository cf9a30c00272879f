"""Which of llama.cpp's tests of its server do not apply to this one, and which ask for what it does otherwise."""

import re

# Expressions over the names of tests, each with the reason why a test of that name says nothing of this server.
LEFT_OUT: dict[str, str] = {}

# Tests that apply and fail, each with the reason why this server does otherwise.
DIFFERENT: dict[str, str] = {}


def reason_of(name: str) -> str | None:
    return next((reason for pattern, reason in LEFT_OUT.items() if re.search(pattern, name)), None)
