"""Makes references/training.json: what PEFT says of training adapters over SmolLM2-135M-Instruct.

As make-references.py does it: transformers, float32, on the dequantised weights of the GGUF file. The texts are rows
held out from the examples under adapters/, loss on the answer with its end.

    python test/parity/make-training-references.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf [--rows rows.jsonl]

Per case, with values of A and B from `values`: the loss (mean over targets), the targets' log-probabilities, and for
every A and B the norm of its derivative and its product with a direction from `values` again, which a norm alone would
not see. --rows prints the base's loss over the targets of the first 64 rows {prompt, completion} of a file, ends of
sequence among them, and writes nothing.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "adapters"
sys.path.append(str(EXAMPLES))
ALL_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = [
    dict(name="r4-qv", r=4, alpha=8, modules=["q_proj", "v_proj"]),
    dict(name="r16-all", r=16, alpha=16, modules=ALL_LINEARS),
]
ROWS = dict(order=1, pirate=1, shell=1)


def values(count: int, salt: int) -> np.ndarray:
    """Uniform within 0.02, by a multiplicative hash."""
    index = np.arange(count, dtype=np.uint64)
    hashed = (index * np.uint64(2654435761) + np.uint64(salt) * np.uint64(97531)) % np.uint64(2**32)
    return (hashed.astype(np.float64) / 2**32 - 0.5) * 0.04


def pairs_of(model, modules: list[str]) -> list[tuple[str, torch.nn.Parameter]]:
    found, pairs = dict(model.named_parameters()), []
    for layer in range(model.config.num_hidden_layers):
        for module in modules:
            block = "self_attn" if module[0] in "qkvo" else "mlp"
            for side in "AB":
                name = f"base_model.model.model.layers.{layer}.{block}.{module}.lora_{side}.default.weight"
                pairs.append((f"{layer}.{module}.{side}", found[name]))
    return pairs


def logprobs_of(model, tokens: list[int], first: int) -> torch.Tensor:
    ids = torch.tensor([tokens])
    chosen = model(input_ids=ids, use_cache=False).logits[0, first - 1 : -1].log_softmax(-1)
    return chosen.gather(1, ids[0, first:, None])[:, 0]


def print_loss(model, tokenizer, path: Path) -> None:
    logprobs = []
    with torch.no_grad():
        for row in map(json.loads, path.read_text().splitlines()[:64]):
            prompt = tokenizer.encode(row["prompt"])
            answer = tokenizer.encode(row["completion"]) + [tokenizer.eos_token_id]
            logprobs.append(logprobs_of(model, prompt + answer, len(prompt)))
    print(f"loss {float(-torch.cat(logprobs).mean()):.5f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--rows", type=Path)
    args = parser.parse_args()
    source = dict(pretrained_model_name_or_path=args.gguf.parent, gguf_file=args.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    load = lambda: AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    if args.rows:
        return print_loss(load(), tokenizer, args.rows)
    from train import encode, read_rows

    texts = []
    for name, count in ROWS.items():
        for row in read_rows(EXAMPLES / name / "held-out.jsonl")[:count]:
            tokens, labels = encode(tokenizer, row)
            texts.append(dict(tokens=tokens, firstTarget=next(i for i, label in enumerate(labels) if label >= 0)))
    cases = []
    for case in CASES:
        config = LoraConfig(r=case["r"], lora_alpha=case["alpha"], target_modules=case["modules"], lora_dropout=0.0)
        model = get_peft_model(load(), config)
        pairs = pairs_of(model, case["modules"])
        for salt, (_, parameter) in enumerate(pairs, 1):
            fill = values(parameter.numel(), salt).astype("<f4")
            parameter.data = torch.from_numpy(fill).reshape(parameter.shape)
        logprobs = torch.cat([logprobs_of(model, text["tokens"], text["firstTarget"]) for text in texts])
        loss = -logprobs.mean()
        loss.backward()
        found = []
        for salt, (_, parameter) in enumerate(pairs, 1):
            gradient = parameter.grad.double().numpy().ravel()
            along = float(gradient @ values(gradient.size, salt + 1000))
            found.append([float(f"{value:.8g}") for value in (np.linalg.norm(gradient), along)])
        scaling = case["alpha"] / case["r"]
        entry = dict(name=case["name"], r=case["r"], scaling=scaling, modules=case["modules"], loss=float(loss))
        cases.append(dict(**entry, logprobs=[round(v, 5) for v in logprobs.tolist()], gradients=found))
    content = dict(texts=texts, cases=cases)
    (HERE / "references" / "training.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
