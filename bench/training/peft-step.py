"""Runs one case of bench/training.ts with PEFT: forward and backward of one batch of random tokens. Torch computes in
float32 or, where the precision is bfloat16, under its autocast.

    python bench/training/peft-step.py model.gguf '{"lines": 4, "tokens": 128, ...}'

Prints a line of JSON. `recompute` is transformers' gradient checkpointing.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def main() -> None:
    path, case = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(case["threads"])
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    config = LoraConfig(r=case["r"], lora_alpha=2 * case["r"], target_modules=case["modules"], lora_dropout=0.0)
    model = get_peft_model(model, config).to(case["device"])
    if case["recompute"]:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
    model.train()
    lines, tokens, targets = case["lines"], case["tokens"], case["targets"]
    ids = torch.randint(0, model.config.vocab_size, (lines, tokens), device=case["device"])
    labels = ids.clone()
    labels[:, : tokens - targets] = -100

    def step() -> float:
        with torch.autocast(torch.device(case["device"]).type, torch.bfloat16, enabled=case["precision"] == "bfloat16"):
            loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        model.zero_grad()
        if case["device"] != "cpu":
            torch.cuda.synchronize(case["device"])
        return float(loss)

    loss = step()
    times, before = [], time.process_time()
    for _ in range(case["steps"]):
        start = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - start)
    seconds = sorted(times)[len(times) // 2]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(dict(tokensPerSecond=lines * tokens / seconds, cpuSecondsPerStep=(time.process_time() - before) / len(times), peakRssBytes=peak, loss=loss)))


if __name__ == "__main__":
    main()
