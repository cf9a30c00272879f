"""Makes test/parity/references: next-token distributions and greedy tokens of SmolLM2-135M-Instruct.

transformers, float32, on the dequantised weights of the GGUF file, so that a difference is the engine's own doing
and not the quantiser's. Prompts are in prompts.json; each is read at its last position and at up to three earlier
ones (a quarter, a half and three quarters of the way), which costs nothing and gives more distributions.

    python test/parity/make-references.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf [--full full.npy]

Files: smollm2.json is the index (row = number of the first of the prompt's distributions, margins = top logit minus
the second at each greedy step); smollm2.bin holds, for R rows and the TOP most likely tokens of each, in this order:
log-probs float32 [R, TOP], tail float32 [R] (probability of all other tokens), ids uint16 [R, TOP]; little-endian.
kl.ts says how they are compared. --full keeps whole distributions, float32 [R, vocabulary], for peer-parity.py.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
TOP = 512
GREEDY_TOKENS = 32


def positions_of(length: int) -> list[int]:
    return sorted({length // 4, length // 2, 3 * length // 4, length - 1})


def encode(tokenizer, prompt: dict) -> list[int]:
    if "messages" in prompt:
        return tokenizer.apply_chat_template(prompt["messages"], add_generation_prompt=True, return_dict=False)
    return tokenizer.encode(prompt["text"])


@torch.no_grad()
def reference(model, tokens: list[int]) -> tuple[np.ndarray, list[int], list[float]]:
    """Log-probs [positions, vocabulary] in float64, greedy tokens, and the margin of each."""
    out = model(torch.tensor([tokens]), use_cache=True)
    rows = out.logits[0, positions_of(len(tokens))].double().log_softmax(-1).numpy()
    chosen, margins = [], []
    for _ in range(GREEDY_TOKENS):
        top = out.logits[0, -1].topk(2)
        chosen.append(int(top.indices[0]))
        margins.append(round(float(top.values[0] - top.values[1]), 4))
        out = model(torch.tensor([chosen[-1:]]), past_key_values=out.past_key_values, use_cache=True)
    return rows, chosen, margins


def check_sanity(model, tokenizer) -> None:
    """A wrong dequantiser or a wrong permutation of q and k gives fluent nonsense, not an error."""
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    _, chosen, _ = reference(model, encode(tokenizer, {"messages": messages}))
    text = tokenizer.decode(chosen)
    assert text.startswith("The capital of France is Paris."), text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--full", type=Path)
    args = parser.parse_args()
    source = dict(pretrained_model_name_or_path=args.gguf.parent, gguf_file=args.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, attn_implementation="eager").eval()
    check_sanity(model, tokenizer)

    prompts, rows = [], []
    for prompt in json.loads((HERE / "prompts.json").read_text()):
        tokens = encode(tokenizer, prompt)
        logprobs, chosen, margins = reference(model, tokens)
        prompts.append(
            dict(
                kind=prompt["kind"],
                tokens=tokens,
                positions=positions_of(len(tokens)),
                row=sum(map(len, rows)),
                greedy=chosen,
                margins=margins,
            )
        )
        rows.append(logprobs)
    full = np.concatenate(rows)
    ids = np.argsort(-full, axis=1, kind="stable")[:, :TOP]
    top = np.take_along_axis(full, ids, axis=1)
    rest = full.copy()
    np.put_along_axis(rest, ids, -np.inf, axis=1)
    tail = np.exp(rest).sum(axis=1)

    folder = HERE / "references"
    folder.mkdir(exist_ok=True)
    parts = top.astype("<f4"), tail.astype("<f4"), ids.astype("<u2")
    (folder / "smollm2.bin").write_bytes(b"".join(part.tobytes() for part in parts))
    index = dict(model="SmolLM2-135M-Instruct.Q4_1.gguf", vocabulary=full.shape[1], top=TOP, rows=len(full))
    (folder / "smollm2.json").write_text(json.dumps(index | dict(prompts=prompts)) + "\n")
    if args.full:
        np.save(args.full, full.astype(np.float32))
    lengths = [len(prompt["tokens"]) for prompt in prompts]
    print(f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, {len(full)} distributions")
    print(f"probability outside the top {TOP}: mean {tail.mean():.4f}, largest {tail.max():.4f}")


if __name__ == "__main__":
    main()
