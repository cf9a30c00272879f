"""Makes references/adapters.json and .bin: what PEFT says of adapters of every kind over SmolLM2-135M-Instruct.

As make-references.py does it: transformers, float32, on the dequantised weights of the GGUF file. Every adapter goes
through PeftModel.from_pretrained, from the very files that an upload would have: the seeded ones (seeded_adapter.py,
with magnitudes of DoRA in dora-magnitudes.bin) and the trained examples under adapters/.

    python test/parity/make-adapter-references.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf [--examples [pirate ...]]

--examples asks only these trained examples, or all of them, and keeps every other case as it stands.
A case is one adapter, or several with scales that apply at once; for each of its prompts there are 24 greedy tokens
with margins, and distributions at the end of the prompt and after 1, 8 and 23 of the greedy tokens. `row` is the
first of the four in the .bin, whose layout is that of make-references.py. adapters.ts reads them.
"""

import argparse
import functools
import hashlib
import importlib
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer

from seeded_adapter import SPECS, config_bytes, modules_of, weights_bytes

base_references = importlib.import_module("make-references")
encode, check_sanity, HERE, TOP = (getattr(base_references, n) for n in ("encode", "check_sanity", "HERE", "TOP"))
EXAMPLES = HERE.parent.parent / "adapters"
REFERENCES = HERE / "references"
GREEDY_TOKENS = 24
STEPS = [0, 1, 8, 23]
# Of prompts.json: a fact, code, chat, chat with a system message, several turns, another script, 198 tokens of prose.
COMMON_PROMPTS = [3, 24, 33, 40, 41, 46, 12]
EXAMPLE_PROMPTS = 3
COMBINATIONS = [
    ("half-scale", [("r16-all", 0.5)]),
    ("two-at-once", [("r16-all", 0.75), ("r4-qv-f16", 1.25)]),
    ("three-at-once", [("r1-qv", 1), ("rank-and-alpha-pattern", 0.5), ("lm-head", -1)]),
]


def magnitudes_of(model) -> dict[str, np.ndarray]:
    """Norms of the base weight's rows, where PEFT starts from, moved by up to a tenth as training would move them."""
    random, found = np.random.default_rng(0), {}
    for spec in SPECS["adapters"]:
        for path, _, _ in modules_of(spec) if spec.get("magnitudes") else []:
            norm = model.get_submodule(path).weight.detach().norm(dim=1).numpy()
            found[path] = (norm * (1 + 0.1 * random.uniform(-1, 1, norm.shape))).astype("<f4")
    return found


def write_folders(model, folder: Path) -> list[dict]:
    """A PEFT folder for each seeded adapter, and the digests of its files."""
    magnitudes, digests = magnitudes_of(model), []
    (REFERENCES / "dora-magnitudes.bin").write_bytes(b"".join(v.tobytes() for v in magnitudes.values()))
    for spec in SPECS["adapters"]:
        config, weights = config_bytes(spec), weights_bytes(spec, magnitudes)
        (folder / spec["name"]).mkdir()
        (folder / spec["name"] / "adapter_config.json").write_bytes(config)
        (folder / spec["name"] / "adapter_model.safetensors").write_bytes(weights)
        sha256 = lambda content: hashlib.sha256(content).hexdigest()
        digests.append(dict(name=spec["name"], config=sha256(config), weights=sha256(weights)))
    return digests


@torch.no_grad()
def reference(model, tokens: list[int]) -> tuple[np.ndarray, list[int], list[float]]:
    """Log-probs [steps, vocabulary] in float64, greedy tokens, and the margin of each."""
    out = model(input_ids=torch.tensor([tokens]), use_cache=True)
    rows, chosen, margins = [], [], []
    for step in range(GREEDY_TOKENS):
        logits = out.logits[0, -1]
        if step in STEPS:
            rows.append(logits.double().log_softmax(-1).numpy())
        top = logits.topk(2)
        chosen.append(int(top.indices[0]))
        margins.append(round(float(top.values[0] - top.values[1]), 4))
        out = model(input_ids=torch.tensor([chosen[-1:]]), past_key_values=out.past_key_values, use_cache=True)
    return np.stack(rows), chosen, margins


def apply(base, parts: list[tuple[str, float]], folders: dict[str, Path]):
    """The base model with all of them active at once: PEFT adds what each contributes."""
    model = None
    for name, _ in parts:
        if model is None:
            model = PeftModel.from_pretrained(base, folders[name], adapter_name=name)
        else:
            model.load_adapter(folders[name], adapter_name=name)
    model.base_model.set_adapter([name for name, _ in parts])
    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name, scale in parts:
                if name in module.scaling:
                    module.set_scale(name, scale)
    return model.eval()


def example_prompts(folder: Path) -> list[dict]:
    rows = map(json.loads, (folder / "held-out.jsonl").read_text().splitlines())
    prompts = [dict(kind=folder.name, messages=row["messages"][:-1]) for row in rows]
    return prompts[:EXAMPLE_PROMPTS]


def packed(full: np.ndarray) -> list[np.ndarray]:
    """Log-probs [rows, vocabulary] as the three parts of the .bin."""
    ids = np.argsort(-full, axis=1, kind="stable")[:, :TOP]
    top = np.take_along_axis(full, ids, axis=1)
    rest = full.copy()
    np.put_along_axis(rest, ids, -np.inf, axis=1)
    return [top.astype("<f4"), np.exp(rest).sum(axis=1).astype("<f4"), ids.astype("<u2")]


def read_references() -> tuple[dict, list[np.ndarray]]:
    """The index as it stands and its rows, packed."""
    index, at, parts = json.loads((REFERENCES / "adapters.json").read_text()), 0, []
    content, rows = (REFERENCES / "adapters.bin").read_bytes(), index["rows"]
    for kind, width in ("<f4", TOP), ("<f4", 1), ("<u2", TOP):
        parts.append(np.frombuffer(content, kind, rows * width, at).reshape(rows, width).squeeze())
        at += parts[-1].nbytes
    assert at == len(content) and index["steps"] == STEPS
    return index, parts


def write_references(parts: list[list[np.ndarray]], index: dict) -> None:
    joined = [b"".join(piece.tobytes() for piece in pieces) for pieces in zip(*parts)]
    (REFERENCES / "adapters.bin").write_bytes(b"".join(joined))
    (REFERENCES / "adapters.json").write_text(json.dumps(index) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--examples", nargs="*")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*(fan_in_fan_out|tie_word_embeddings).*")
    source = dict(pretrained_model_name_or_path=args.gguf.parent, gguf_file=args.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    base = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, attn_implementation="eager").eval()
    check_sanity(base, tokenizer)

    every = json.loads((HERE / "prompts.json").read_text())
    prompts = [every[i] for i in COMMON_PROMPTS]
    encoded = [dict(kind=prompt["kind"], tokens=encode(tokenizer, prompt)) for prompt in prompts]
    common = range(len(prompts))
    examples = sorted(config.parent for config in EXAMPLES.glob("*/adapter_config.json"))
    asked = args.examples or [folder.name for folder in examples]
    cases, parts = [], []
    without = functools.cache(lambda i: reference(base, encoded[i]["tokens"])[0])
    next_row = lambda: sum(len(top) for top, _, _ in parts)

    def keep(case: dict) -> None:
        continuations = []
        for one in case["continuations"]:
            continuations.append(one | dict(row=next_row()))
            parts.append([part[one["row"] :][: len(STEPS)] for part in stored])
        cases.append(case | dict(continuations=continuations))

    def add(name: str, applied: list[tuple[str, float]], numbers: list[int]) -> None:
        before = {i: without(i) for i in numbers if i in common}
        model = apply(base, applied, folders)
        continuations, results = [], [reference(model, encoded[i]["tokens"]) for i in numbers]
        for number, (logprobs, greedy, margins) in zip(numbers, results):
            continuations.append(dict(prompt=number, row=next_row(), greedy=greedy, margins=margins))
            parts.append(packed(logprobs))
        adapters = [dict(name=one, scale=scale) for one, scale in applied]
        cases.append(dict(name=name, adapters=adapters, continuations=continuations))
        model.unload()
        ends = [(before[i][0], r[0][0]) for i, r in zip(numbers, results) if i in common]
        kl = np.mean([(np.exp(r) * (r - b)).sum() for b, r in ends])
        same = sum(b.argmax() == r.argmax() for b, r in ends)
        print(f"{name}: KL from the base {kl:.3f} nats, {same} of {len(ends)} next tokens as without", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folders = {folder.name: folder for folder in examples}
        if args.examples is not None:
            index, stored = read_references()
            digests, named = index["adapters"], {case["name"]: case for case in index["cases"]}
            for case in index["cases"]:
                if case["name"] not in folders:
                    keep(case)
        else:
            digests = write_folders(base, Path(temporary))
            folders |= {spec["name"]: Path(temporary) / spec["name"] for spec in digests}
            for spec in digests:
                add(spec["name"], [(spec["name"], 1)], [*common])
            for name, applied in COMBINATIONS:
                add(name, applied, [*common])
        for folder in examples:
            own = [dict(kind=p["kind"], tokens=encode(tokenizer, p)) for p in example_prompts(folder)]
            encoded.extend(own)
            numbers = range(len(encoded) - len(own), len(encoded))
            if folder.name in asked:
                add(folder.name, [(folder.name, 1)], [*common[2:5], *numbers])
            else:
                keep(named[folder.name])
    head = dict(vocabulary=base.config.vocab_size, top=TOP, rows=next_row(), steps=STEPS)
    write_references(parts, head | dict(model=args.gguf.name, adapters=digests, prompts=encoded, cases=cases))


if __name__ == "__main__":
    main()
