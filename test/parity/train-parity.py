"""Trains as bench/train.ts does, with PEFT and torch, on the dequantised weights of the same GGUF file; and looks at an
adapter that bench/train.ts has made.

    python test/parity/train-parity.py model.gguf --train rows.jsonl [--eval rows.jsonl] [--steps 150] [--threads 2]
        [--adapter folder [--within 0.02]] [--save folder]

Rows are {prompt, completion}, in file order: 8 a step, loss on the completion and its end; AdamW, 2e-3, linear to zero
with 10 warm-up steps, clipped at 1, no weight decay; r = 4 on q_proj and v_proj, alpha 8. The validation loss is the mean
over target tokens of the first 64 rows. Speed leaves out the first step. With --adapter, PEFT loads that folder, and its loss must be within the given
share of what training here came to (--steps 0: only says what it is). --save keeps what was trained here as a PEFT
folder.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_linear_schedule_with_warmup

BATCH, RATE, WARMUP, EVAL_ROWS = 8, 2e-3, 10, 64
IGNORED = -100


def read_rows(path: Path, tokenizer, count: int | None = None) -> list[tuple[list[int], int]]:
    """Tokens of each row, and how many of them are prompt."""
    rows = []
    for line in path.read_text().splitlines()[:count]:
        row = json.loads(line)
        prompt = tokenizer.encode(row["prompt"])
        rows.append((prompt + tokenizer.encode(row["completion"]) + [tokenizer.eos_token_id], len(prompt)))
    return rows


def batch_of(rows, pad: int):
    length = max(len(tokens) for tokens, _ in rows)
    fill = lambda value, tokens: tokens + [value] * (length - len(tokens))
    return dict(
        input_ids=torch.tensor([fill(pad, tokens) for tokens, _ in rows]),
        attention_mask=torch.tensor([fill(0, [1] * len(tokens)) for tokens, _ in rows]),
        labels=torch.tensor([fill(IGNORED, [IGNORED] * prompt + tokens[prompt:]) for tokens, prompt in rows]),
    )


@torch.no_grad()
def validation_loss(model, rows, pad: int) -> float:
    model.eval()
    total, targets = 0.0, 0
    for at in range(0, len(rows), BATCH):
        batch = batch_of(rows[at : at + BATCH], pad)
        count = int((batch["labels"][:, 1:] != IGNORED).sum())
        total += float(model(**batch).loss) * count
        targets += count
    return total / targets


def train(base, rows, steps: int, pad: int):
    """The adapted model, tokens a second, processor seconds a step."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    scheduler = get_linear_schedule_with_warmup(optimizer, WARMUP, steps)
    model.train()
    for step in range(steps):
        if step <= 1:
            tokens, began, cpu_began = 0, time.monotonic(), time.process_time()
        chosen = [rows[(step * BATCH + index) % len(rows)] for index in range(BATCH)]
        loss = model(**batch_of(chosen, pad)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        tokens += sum(len(row) for row, _ in chosen)
        print(json.dumps(dict(step=step + 1, loss=round(float(loss), 4))), flush=True)
    cpu = (time.process_time() - cpu_began) / max(1, steps - 1)
    return model, tokens / (time.monotonic() - began), cpu


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--eval", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--within", type=float, default=0.02)
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    source = dict(pretrained_model_name_or_path=args.gguf.parent, gguf_file=args.gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    load = lambda: AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    pad = tokenizer.eos_token_id
    held_out = read_rows(args.eval, tokenizer, EVAL_ROWS) if args.eval else None

    figures = {}
    if args.adapter:
        figures["ours"] = validation_loss(PeftModel.from_pretrained(load(), args.adapter), held_out, pad)
    if args.steps > 0:
        base = load()
        if held_out:
            figures["before"] = validation_loss(base, held_out, pad)
        rows = read_rows(args.train, tokenizer)
        model, figures["tokens_per_second"], figures["cpu_seconds_per_step"] = train(base, rows, args.steps, pad)
        figures["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if args.save:
            model.save_pretrained(args.save)
        if held_out:
            figures["after"] = validation_loss(model, held_out, pad)
    print(json.dumps(figures))
    if "ours" in figures and "after" in figures:
        difference = abs(figures["ours"] / figures["after"] - 1)
        assert difference <= args.within, f"the losses differ by {difference:.1%}"


if __name__ == "__main__":
    main()
