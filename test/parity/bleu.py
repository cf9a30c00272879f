"""BLEU of what adapters write for held-out rows, greedily: one trained by PEFT, run by transformers in float32 on the
dequantised weights of the same GGUF file, and one on a running server.

    python test/parity/bleu.py model.gguf --eval rows.jsonl [--peft folder] [--server url name] [--within 1]
        [--prompts 40]

Rows are {prompt, completion}. Rows of one prompt are references of one text, as E2E's own measure has it; words are
split at blanks, which is how E2E's references are written. Needs sacrebleu beside torch, transformers, peft and gguf.
With both sides given, the server's must not be worse by more than so many points.
"""

import argparse
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sacrebleu

NEW_TOKENS = 64
CALLERS = 8


def read_references(path: Path) -> dict[str, list[str]]:
    references: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        references.setdefault(row["prompt"], []).append(row["completion"])
    return references


def texts_of_peft(gguf: Path, folder: Path, prompts: list[str]) -> list[str]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    base = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder).eval()

    def write(prompt: str) -> str:
        tokens = torch.tensor([tokenizer.encode(prompt)])
        settings = dict(do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=tokenizer.eos_token_id)
        found = model.generate(tokens, attention_mask=torch.ones_like(tokens), **settings)[0, tokens.shape[1] :]
        return tokenizer.decode(found, skip_special_tokens=True)

    with torch.no_grad():
        return [write(prompt) for prompt in prompts]


def texts_of_server(url: str, name: str, prompts: list[str]) -> list[str]:
    def write(prompt: str) -> str:
        body = dict(prompt=prompt, max_tokens=NEW_TOKENS, temperature=0, adapter_id=name)
        headers = {"content-type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/v1/generate", json.dumps(body).encode(), headers)
        ) as answer:
            return json.load(answer)["text"]

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(write, prompts))


def bleu(texts: list[str], references: list[list[str]]) -> float:
    most = max(len(some) for some in references)
    columns = [[some[i] if i < len(some) else None for some in references] for i in range(most)]
    return sacrebleu.corpus_bleu([text.strip() for text in texts], columns, tokenize="none").score


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--eval", type=Path, required=True)
    parser.add_argument("--peft", type=Path)
    parser.add_argument("--server", nargs=2, metavar=("URL", "NAME"))
    parser.add_argument("--within", type=float, default=1.0)
    parser.add_argument("--prompts", type=int, help="only the first so many")
    args = parser.parse_args()
    grouped = read_references(args.eval)
    prompts, references = list(grouped)[: args.prompts], list(grouped.values())[: args.prompts]

    texts = {}
    if args.server:
        texts["server"] = texts_of_server(*args.server, prompts)
    if args.peft:
        texts["peft"] = texts_of_peft(args.gguf, args.peft, prompts)
    scores = {side: bleu(some, references) for side, some in texts.items()}
    equal = sum(len(set(pair)) == 1 for pair in zip(*texts.values())) if len(texts) == 2 else None
    print(json.dumps(dict(prompts=len(prompts), bleu=scores, equal=equal)))
    if len(scores) == 2:
        lead = scores["peft"] - scores["server"]
        assert lead <= args.within, f"{lead:.2f} points worse"


if __name__ == "__main__":
    main()
