"""Measures llama.cpp on the same references and writes references/llama-cpp.json, which the parity test prints.

    python test/parity/peer-parity.py llama-server SmolLM2-135M-Instruct.Q4_1.gguf --full full.npy --release NAME

llama-server runs with its defaults on two threads. It returns log-probs of the whole vocabulary before sampling, so
the divergence is the one of kl.ts. With the whole reference distributions (make-references.py --full) the exact
divergence is computed too: the gap between both is the error of storing only the most likely tokens.
"""

import argparse
import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "references"
PORT = 18123
THREADS = 2
CONTEXT = 2048


def post(path: str, body: dict) -> dict:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def wait_until_ready(server: subprocess.Popen) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise SystemExit(f"llama-server ended with {server.returncode}")


def next_logprobs(tokens: list[int], vocabulary: int) -> np.ndarray:
    """The bias forces a plain letter, as the server leaves out log-probs where half a character was sampled; they are
    taken before the bias."""
    plain = [["a", 1000]]
    body = dict(prompt=tokens, n_predict=1, n_probs=vocabulary, temperature=0, logit_bias=plain, cache_prompt=False)
    top = post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
    logprobs = np.full(vocabulary, np.nan)
    logprobs[[entry["id"] for entry in top]] = [entry["logprob"] for entry in top]
    assert not np.isnan(logprobs).any() and abs(np.exp(logprobs).sum() - 1) < 1e-3
    return logprobs


def greedy(tokens: list[int], count: int) -> list[int]:
    body = dict(prompt=tokens, n_predict=count, temperature=0, ignore_eos=True, return_tokens=True, cache_prompt=False)
    return post("/completion", body)["tokens"]


def lumped_kl(logp: np.ndarray, tail: float, logq: np.ndarray) -> float:
    """As kl.ts: exact over the stored tokens, all others as one."""
    rest = max(1 - np.exp(logq).sum(), np.finfo(float).eps)
    return float((np.exp(logp) * (logp - logq)).sum() + tail * np.log(tail / rest))


def measure(index: dict, full: np.ndarray) -> dict:
    rows, top = index["rows"], index["top"]
    data = (FOLDER / "smollm2.bin").read_bytes()
    logps = np.frombuffer(data, "<f4", rows * top).reshape(rows, top).astype(float)
    tails = np.frombuffer(data, "<f4", rows, offset=logps.size * 4)
    ids = np.frombuffer(data, "<u2", rows * top, offset=(logps.size + rows) * 4).reshape(rows, top)

    kls, whole_kls, agreed, greedy_equal = [], [], 0, 0
    for prompt in index["prompts"]:
        for row, position in enumerate(prompt["positions"], prompt["row"]):
            logq = next_logprobs(prompt["tokens"][: position + 1], index["vocabulary"])
            logp = full[row].astype(float)
            kls.append(lumped_kl(logps[row], float(tails[row]), logq[ids[row]]))
            whole_kls.append(float((np.exp(logp) * (logp - logq)).sum()))
            agreed += int(logq.argmax() == ids[row, 0])
        greedy_equal += greedy(prompt["tokens"], len(prompt["greedy"])) == prompt["greedy"]
    return dict(
        distributions=rows,
        meanKl=round(float(np.mean(kls)), 6),
        medianKl=round(float(np.median(kls)), 6),
        largestKl=round(max(kls), 6),
        top1=round(agreed / rows, 4),
        greedyEqual=greedy_equal,
        prompts=len(index["prompts"]),
        meanWholeKl=round(float(np.mean(whole_kls)), 6),
        largestGap=round(float(np.max(np.abs(np.subtract(whole_kls, kls)))), 6),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("server", type=Path)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--full", type=Path, required=True)
    parser.add_argument("--release", required=True)
    args = parser.parse_args()
    flags = ["-t", str(THREADS), "-c", str(CONTEXT), "-np", "1"]
    command = [args.server, "-m", args.gguf, "--port", str(PORT), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(server)
        index = json.loads((FOLDER / "smollm2.json").read_text())
        result = dict(peer=args.release, model=index["model"], flags=" ".join(flags))
        result |= measure(index, np.load(args.full, mmap_mode="r"))
    finally:
        server.terminate()
        server.wait()
    (FOLDER / "llama-cpp.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
