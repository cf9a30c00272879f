"""Asks a server on fakes what its own description allows, and what it does not: schemathesis with all checks.

    python test/contract/schemathesis.py [--examples N] [--seconds N]

Needs the package schemathesis. Fails on a server error, an answer that the description does not have, an authentication
that is ignored, a bad request that is taken or a good one that is refused, and on any error in the server's log.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

root = Path(__file__).parent.parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("--examples", type=int, default=50)
# Named checks hold for all operations; left out, all do but for what the configuration says.
parser.add_argument("--checks", help="a comma-separated list of schemathesis' checks")
parser.add_argument("--cases-min", type=int, default=5000)
# Of new cases; what is under way then is finished.
parser.add_argument("--seconds", type=int, default=200)
options = parser.parse_args()

server = subprocess.Popen(
    ["node", root / "scripts/run.js", "test/contract/serve-fakes.ts"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
)
assert server.stdout is not None and server.stdin is not None
about = json.loads(server.stdout.readline())
command = [
    Path(sys.executable).parent / "st",
    "--config-file",
    root / "test/contract/schemathesis.toml",
    "run",
    f"{about['url']}/openapi.json",
    "--header",
    f"Authorization: Bearer {about['key']}",
    "--max-examples",
    str(options.examples),
    "--max-time",
    str(options.seconds),
    "--seed",
    "1",
    "--no-color",
    "--suppress-health-check",
    "all",
    "--request-timeout",
    "20",
]
if options.checks:
    command += ["--checks", options.checks]
began = time.monotonic()
try:
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        stdout, stderr = run.communicate(timeout=options.seconds + 90)
    except subprocess.TimeoutExpired:
        # What it has found so far it tells.
        run.send_signal(signal.SIGINT)
        stdout, stderr = run.communicate(timeout=60)
finally:
    server.stdin.close()
    log_rc = server.wait(timeout=30)
# Bodies may be as long as the server takes them.
for line in stdout.splitlines():
    print(line if len(line) < 400 else f"{line[:400]} ...")
sys.stderr.write(stderr[-4000:])
cases = [int(count) for count in re.findall(r"(\d+) generated", stdout)]
seconds = time.monotonic() - began
print(f"schemathesis {run.returncode}, server {log_rc}, {sum(cases)} cases in {seconds:.0f} s")
if sum(cases) < options.cases_min:
    # A slow machine comes less far in its time, which is no fault of the server's.
    is_over = seconds >= options.seconds and sum(cases) > 0
    print(f"fewer than {options.cases_min} cases" + (": the time was over" if is_over else ""))
    if not is_over:
        sys.exit(1)
sys.exit(run.returncode or log_rc)
