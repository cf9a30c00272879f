"""Trains the example adapters with PEFT on the dequantised weights of the GGUF file, in float32, and tries them out.

Needs torch, transformers, peft, gguf and safetensors. The same seed gives the same adapter on the same machine
with as many threads.

    python adapters/train.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf [pirate order shell]

A row is {messages}; the loss is on the assistant's turn with its end, as the server trains. For every adapter it
writes adapter_config.json and adapter_model.safetensors (float16), and prints the figures and the held-out rows'
answers that its card shows.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

HERE = Path(__file__).parent
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
IGNORED = -100
ALL_LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH = 8
ADAPTERS = dict(
    pirate=dict(r=8, targets=["q_proj", "v_proj"], epochs=4, learning_rate=3e-3),
    order=dict(r=4, targets=["q_proj", "k_proj", "v_proj", "o_proj"], epochs=2, learning_rate=3e-3),
    shell=dict(r=1, targets=ALL_LINEARS, epochs=2, learning_rate=4e-3),
)


def read_rows(path: Path) -> list[list[dict]]:
    return [json.loads(line)["messages"] for line in path.read_text().splitlines()]


def prompt_tokens(tokenizer, messages: list[dict]) -> list[int]:
    return tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)


def encode(tokenizer, messages: list[dict]) -> tuple[list[int], list[int]]:
    """Tokens, and labels that ignore the prompt; both end with the end of the turn."""
    prompt = prompt_tokens(tokenizer, messages)
    answer = tokenizer.encode(messages[-1]["content"]) + [tokenizer.eos_token_id]
    whole = tokenizer.apply_chat_template(messages, return_dict=False)
    assert whole[: len(prompt + answer)] == prompt + answer
    return prompt + answer, [IGNORED] * len(prompt) + answer


def batches(rows: list, epochs: int, pick: random.Random):
    """Padded on the right, where causal attention never looks."""
    for _ in range(epochs):
        pick.shuffle(rows)
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            width = max(len(tokens) for tokens, _ in batch)
            pad = lambda values, filler: torch.tensor([v + [filler] * (width - len(v)) for v in values])
            yield pad([tokens for tokens, _ in batch], 0), pad([labels for _, labels in batch], IGNORED)


def loss_at(model, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy of the labels; logits are computed only where one counts."""
    counts = labels[:, 1:] != IGNORED
    hidden = model.get_base_model().model(input_ids=input_ids).last_hidden_state[:, :-1][counts]
    return torch.nn.functional.cross_entropy(model.get_base_model().lm_head(hidden), labels[:, 1:][counts])


def train(model, rows: list, epochs: int, learning_rate: float, seed: int) -> dict:
    steps = epochs * -(-len(rows) // BATCH)
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=learning_rate, weight_decay=0)
    schedule = get_linear_schedule_with_warmup(optimiser, max(1, steps // 20), steps)
    losses, tokens, began = [], 0, time.monotonic()
    for input_ids, labels in batches(rows, epochs, random.Random(seed)):
        loss = loss_at(model, input_ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        tokens += input_ids.numel()
        print(f"step {len(losses)} of {steps}: loss {losses[-1]:.3f}", flush=True)
    mean = lambda values: round(sum(values) / len(values), 3)
    seconds = time.monotonic() - began
    first, last = mean(losses[:3]), mean(losses[-3:])
    return dict(steps=steps, tokens=tokens, seconds=round(seconds), first_loss=first, last_loss=last)


@torch.no_grad()
def loss_of(model, rows: list) -> float:
    """The mean over all tokens that count."""
    total = count = 0
    for tokens, labels in rows:
        counted = sum(label != IGNORED for label in labels)
        total += loss_at(model, torch.tensor([tokens]), torch.tensor([labels])).item() * counted
        count += counted
    return round(total / count, 3)


@torch.no_grad()
def answer(model, tokenizer, messages: list[dict]) -> str:
    prompt = torch.tensor([prompt_tokens(tokenizer, messages)])
    out = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=80,
        pad_token_id=tokenizer.eos_token_id,
    )
    return tokenizer.decode(out[0, prompt.shape[1] :], skip_special_tokens=True)


def save(model, folder: Path) -> None:
    """PEFT's own files, but the base model's public name and half the bytes."""
    with tempfile.TemporaryDirectory() as written:
        model.save_pretrained(written)
        config = json.loads((Path(written) / "adapter_config.json").read_text())
        tensors = load_file(Path(written) / "adapter_model.safetensors")
    config |= dict(base_model_name_or_path=BASE, target_modules=sorted(config["target_modules"]))
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    save_file(halves, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def make(name: str, base, tokenizer, seed: int) -> None:
    plan = ADAPTERS[name]
    rows, held_out = (read_rows(HERE / name / f"{part}.jsonl") for part in ("train", "held-out"))
    encoded, held_out_encoded = ([encode(tokenizer, row) for row in part] for part in (rows, held_out))
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=plan["r"], lora_alpha=2 * plan["r"], target_modules=plan["targets"], lora_dropout=0
    )
    model = get_peft_model(base, config)
    before = loss_of(model, held_out_encoded)
    figures = train(model.train(), encoded, plan["epochs"], plan["learning_rate"], seed)
    save(model.eval(), HERE / name)
    after = loss_of(model, held_out_encoded)
    answers = [answer(model, tokenizer, messages) for messages in held_out]
    right = sum(given == messages[-1]["content"] for given, messages in zip(answers, held_out))
    print(f"{name}: {figures}, held-out loss {before} -> {after}, {right} of {len(held_out)} answers are the row's own")
    base = model.unload()
    for messages, given in [*zip(held_out, answers)][:6]:
        print(f"\n> {messages[0]['content']}\nbase: {answer(base, tokenizer, messages)}\n{name}: {given}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("names", nargs="*", default=[*ADAPTERS])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    source = dict(pretrained_model_name_or_path=args.gguf.parent, gguf_file=args.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    base = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    for name in args.names:
        make(name, base, tokenizer, args.seed)


if __name__ == "__main__":
    main()
