"""Exported merges in transformers and in llama.cpp against the server that has the adapter beside its base.

    python test/parity/export-parity.py SmolLM2-135M-Instruct.Q4_1.gguf llama-server [--adapters pirate,dora]

Starts the server on the GGUF file in a data dir of its own, uploads each adapter (the trained examples, and seeded
ones of other kinds: DoRA, lm_head, patterns), downloads its merge in both formats, and lets all three continue
the held-out rows of the examples by argmax. Then the tokeniser that transformers made of the export encodes the
awkward corpus of the fixtures. After the first difference two texts have nothing to do with each other, so what counts
is how far the server's first choice led its second there; a lead of 1 or more, or another token id, ends with code 1.
Where weights are packed llama.cpp rounds activations to 8 bits and differs at near-ties whatever the weights: first the
packed base without an adapter shows how often. Exports go to it in F32, unpacked.
Needs torch, transformers, safetensors and numpy.
"""

import argparse
import base64
import json
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from seeded_adapter import SPECS, config_bytes, modules_of, weights_bytes

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ["pirate", "order", "shell"]
DEFAULT = EXAMPLES + ["dora", "lm-head", "rank-and-alpha-pattern"]
ROWS, TOKENS = 2, 32
LEAD_MAX = 1
END = 2  # of a turn; the server does not count it among its tokens


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process that answers HTTP on a port of its own."""

    def __init__(self, command, ready: str):
        self.port = free_port()
        self.process = subprocess.Popen(command(self.port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self.process.poll() is None:
            try:
                return self.ask(ready).close()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        raise SystemExit(f"it ended with {self.process.returncode}")

    def ask(self, path: str, body: bytes | None = None, kind: str = "application/json"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": kind})
        return urllib.request.urlopen(request)

    def post(self, path: str, body: dict) -> dict:
        with self.ask(path, json.dumps(body).encode()) as answer:
            return json.load(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def files_of(name: str) -> tuple[bytes, bytes]:
    if name in EXAMPLES:
        folder = ROOT / "adapters" / name
        return tuple((folder / file).read_bytes() for file in ("adapter_config.json", "adapter_model.safetensors"))
    spec = next(spec for spec in SPECS["adapters"] if spec["name"] == name)
    magnitudes, stored, at = {}, np.fromfile(HERE / "references" / "dora-magnitudes.bin", "<f4"), 0
    for path, linear, _ in modules_of(spec) if spec.get("magnitudes") else []:
        magnitudes[path] = stored[at : at + linear["out"]]
        at += linear["out"]
    return config_bytes(spec), weights_bytes(spec, magnitudes)


def upload(server: Server, name: str) -> None:
    boundary, parts = uuid.uuid4().hex, b""
    for key, content in zip(("adapter_config.json", "adapter_model.safetensors"), files_of(name)):
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{key}"; filename="{key}"\r\n\r\n'
        parts += head.encode() + content + b"\r\n"
    parts += f'--{boundary}\r\ncontent-disposition: form-data; name="name"\r\n\r\n{name}\r\n--{boundary}--\r\n'.encode()
    server.ask("/v1/adapters", parts, f"multipart/form-data; boundary={boundary}").close()


def download(server: Server, name: str, folder: Path) -> tuple[Path, Path, str]:
    """The GGUF file, the folder, and how long each took."""
    took = []
    # llama.cpp rounds activations where weights are packed; with all of them in floats it rounds nothing.
    for form, query in (("gguf", "format=gguf&dtype=F32&unpacked=true"), ("safetensors", "format=safetensors")):
        began = time.monotonic()
        with server.ask(f"/v1/adapters/{name}/merged?{query}") as answer:
            data = answer.read()
            assert len(data) == int(answer.headers["content-length"])
        took.append(f"{form} {len(data) / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
        (folder / form).write_bytes(data)
    with tarfile.open(folder / "safetensors") as tar:
        tar.extractall(folder / "model", filter="data")
    return folder / "gguf", folder / "model", ", ".join(took)


def rows() -> list[list[dict]]:
    found = []
    for name in EXAMPLES:
        lines = (ROOT / "adapters" / name / "held-out.jsonl").read_text().splitlines()[:ROWS]
        found += [json.loads(line)["messages"][:-1] for line in lines]
    return found


def ours(server: Server, name: str, tokens: list[int]) -> tuple[list[int], list[float]]:
    body = dict(prompt=tokens, max_tokens=TOKENS, temperature=0, logprobs=2)
    if name != "base":
        body["adapter_id"] = name
    steps = server.post("/v1/generate", body)["logprobs"]
    leads = [step["top"][0]["logprob"] - step["top"][1]["logprob"] for step in steps]
    return [step["id"] for step in steps], leads


@torch.no_grad()
def theirs_transformers(model, tokens: list[int]) -> list[int]:
    return model.generate(torch.tensor([tokens]), max_new_tokens=TOKENS, do_sample=False)[0, len(tokens) :].tolist()


def theirs_llama_cpp(server: Server, tokens: list[int]) -> list[int]:
    body = dict(prompt=tokens, n_predict=TOKENS, temperature=0, return_tokens=True, cache_prompt=False)
    return server.post("/completion", body)["tokens"]


class Tally:
    def __init__(self):
        self.equal, self.leads = 0, []

    def add(self, own: list[int], leads: list[float], other: list[int]) -> None:
        other = [token for token in other if token != END]
        at = next((i for i in range(max(len(own), len(other))) if own[i : i + 1] != other[i : i + 1]), None)
        if at is None:
            self.equal += 1
        else:
            # Where the server itself ended there is no step to look at: its end was its first choice.
            self.leads.append(leads[at] if at < len(leads) else 0)

    def __str__(self):
        lead = f" (leads of {', '.join(f'{lead:.3f}' for lead in self.leads)} where not)" if self.leads else ""
        return f"{self.equal} of {self.equal + len(self.leads)} equal{lead}"


def against_llama_cpp(server: Server, name: str, gguf: Path, asked: list[list[int]], args) -> Tally:
    tally = Tally()
    command = lambda port: [args.llama_server, "-m", gguf, "--port", str(port), "-c", "2048", "-ctk", "f32", "-ctv", "f32", "-t", args.threads, "-np", "1"]
    with Server(command, "/health") as llama:
        for tokens in asked:
            tally.add(*ours(server, name, tokens), theirs_llama_cpp(llama, tokens))
    return tally


def tokens_differ(tokenizer) -> int:
    lines = lambda name: [json.loads(l) for l in (HERE.parent / "fixtures" / "tokenizer" / name).read_text().splitlines()]
    packed = dict(lines("smollm2.jsonl"))["encoded"]
    unpack = lambda text: list(struct.unpack(f"<{len(base64.b64decode(text)) // 2}H", base64.b64decode(text)))
    corpus = lines("corpus.jsonl")
    assert len(corpus) == len(packed) > 1000
    found = sum(tokenizer.encode(text) != unpack(ids) for text, ids in zip(corpus, packed))
    print(f"tokeniser in transformers: {found} of {len(corpus)} awkward strings have other ids", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("llama_server", type=Path)
    parser.add_argument("--adapters", default=",".join(DEFAULT))
    parser.add_argument("--node", default="node")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--activations", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(int(args.threads))
    wrong, asked = 0, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start = lambda port: [
            *(args.node, ROOT / "scripts" / "lorikeet.js", "serve", "--model", args.gguf.resolve()),
            *("--port", str(port), "--data-dir", folder / "data", "--threads", args.threads),
            # Without rounding of its own: what differs from transformers is the export's.
            *("--decode-activations", args.activations),
        ]
        with Server(start, "/readyz") as server:
            for name in args.adapters.split(","):
                upload(server, name)
                place = folder / name
                place.mkdir()
                gguf, model_folder, took = download(server, name, place)
                tokenizer = AutoTokenizer.from_pretrained(model_folder)
                if not asked:
                    wrong += tokens_differ(tokenizer)
                    chat = lambda one: tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=False)
                    asked = [chat(messages) for messages in rows()]
                    tally = against_llama_cpp(server, "base", args.gguf, asked, args)
                    print(f"the base itself in llama.cpp: {tally}", flush=True)
                # The F16 weights as they are, with arithmetic that adds no rounding of its own.
                model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
                torch_tally = Tally()
                for tokens in asked:
                    torch_tally.add(*ours(server, name, tokens), theirs_transformers(model, tokens))
                llama_tally = against_llama_cpp(server, name, gguf, asked, args)
                print(f"{name}: {took}\n  transformers: {torch_tally}\n  llama.cpp: {llama_tally}", flush=True)
                wrong += sum(lead >= LEAD_MAX for lead in torch_tally.leads + llama_tally.leads)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
