"""llama.cpp's own tests of its server, unmodified, against this one: those of the interfaces that both have.

The files come from the sdist of llama-cpp-python, which carries llama.cpp. They start a llama-server for each test and
speak to its port; here a proxy is on that port (llama/shim.py), which speaks to the running server. What is left out,
and what differs on purpose, stands with its reason in llama/reasons.py; everything else must pass. Tests that llama.cpp
marks as slow fetch models from the hub, and are not run.
"""

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request

from common import URL, expect
from llama.reasons import DIFFERENT, LEFT_OUT

RELEASE = "0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FOLDER = f"llama_cpp_python-{RELEASE}/vendor/llama.cpp/tools/server/tests/"
FILES = [
    "test_chat_completion.py",
    "test_compat_anthropic.py",
    "test_compat_oai_responses.py",
    "test_completion.py",
    "test_embedding.py",
    "test_tool_call.py",
]
HERE = pathlib.Path(__file__).parent


def fetched() -> bytes:
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    asked = urllib.request.Request(f"{index}/llama-cpp-python/", headers=accept)
    with urllib.request.urlopen(asked, timeout=60) as page:
        files = {file["filename"]: file["url"] for file in json.load(page)["files"]}
    url = urllib.parse.urljoin(f"{index}/llama-cpp-python/", files[f"llama_cpp_python-{RELEASE}.tar.gz"])
    with urllib.request.urlopen(url, timeout=120) as sdist:
        content = sdist.read()
    expect(hashlib.sha256(content).hexdigest() == SHA256, "another sdist")
    return content


def unpack(folder: pathlib.Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(fetched()), mode="r:gz") as archive:
        for member in archive:
            if not member.isfile() or not member.name.startswith(FOLDER):
                continue
            path = folder / member.name.removeprefix(FOLDER)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        unpack(folder)
        report = folder / "report.json"
        path = os.pathsep.join([str(folder), str(HERE)])
        env = os.environ | dict(PYTHONPATH=path, LORIKEET_URL=URL, LORIKEET_REPORT=str(report))
        command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-m", "not slow", "-p", "llama.shim"]
        subprocess.run([*command, *(f"unit/{file}" for file in FILES)], cwd=folder, env=env)
        results = json.loads(report.read_text())
    failed = sorted(name for name, outcome in results.items() if outcome == "failed")
    passed = [name for name, outcome in results.items() if outcome == "passed"]
    left_out = [name for name, outcome in results.items() if outcome == "skipped"]
    share = len(passed) / (len(passed) + len(failed))
    print(f"{len(passed)} of {len(passed) + len(failed)} applicable tests pass ({share:.0%}), {len(left_out)} left out")
    expect(share >= 0.9, failed)
    expect(failed == sorted(DIFFERENT), ("failed, and not known to", set(failed) ^ set(DIFFERENT)))
    for pattern, reason in LEFT_OUT.items():
        count = sum(1 for name in left_out if re.search(pattern, f"unit/{name}"))
        expect(count > 0, ("leaves nothing out", pattern))
        print(f"  left out {count}: {reason}")
    for name, reason in DIFFERENT.items():
        print(f"  otherwise here: {name}: {reason}")


if __name__ == "__main__":
    main()
