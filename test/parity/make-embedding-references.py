"""Makes references/embeddings-tiny and, given the model's file, references/embeddings: what transformers and PEFT give
as the vector of a text.

    python test/parity/make-embedding-references.py [path/to/SmolLM2-135M-Instruct.Q4_1.gguf]

A vector is the mean of the hidden rows after the last norm, or the last of them, at length 1. The tiny models are asked
in float64 with and without the adapter that make-gradients.py fills; SmolLM2 in float32 on dequantised weights, with and
without the example adapter `pirate`. Each .json says what was asked in which order; each .bin holds, float32 and
little-endian, for every case and text the mean, then the last row. embeddings.ts reads them.
"""

import importlib
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent / "fixtures"))
gradients = importlib.import_module("make-gradients")
# Of prompts.json: a fact, code, chat, another script, 198 tokens of prose.
PROMPTS = [3, 24, 40, 46, 12]
EXAMPLE = "pirate"


@torch.no_grad()
def vectors(decoder, tokens: list[int]) -> torch.Tensor:
    """[2, hidden]: of the mean and of the last row."""
    rows = decoder(torch.tensor([tokens])).last_hidden_state[0].double()
    return torch.nn.functional.normalize(torch.stack([rows.mean(0), rows[-1]]), dim=1)


def write(name: str, index: dict, parts: list[torch.Tensor]) -> None:
    folder = HERE / "references"
    (folder / f"{name}.json").write_text(json.dumps(index) + "\n")
    (folder / f"{name}.bin").write_bytes(b"".join(part.numpy().astype("<f4").tobytes() for part in parts))


def tiny() -> None:
    cases, parts = [], []
    texts = [tokens for tokens, _ in gradients.TEXTS["families"]]
    for folder, names in gradients.MODELS.items():
        for name in names:
            source = gradients.HERE / folder / name
            model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64, attn_implementation="eager").eval()
            parts += [vectors(model.model, tokens) for tokens in texts]
            modules = gradients.modules_of(model)
            config = LoraConfig(r=gradients.R, lora_alpha=gradients.ALPHA, target_modules=modules, lora_dropout=0.0)
            adapted = get_peft_model(model, config).double().eval()
            gradients.fill(adapted)
            parts += [vectors(adapted.base_model.model.model, tokens) for tokens in texts]
            cases += [dict(model=name, modules=[]), dict(model=name, modules=modules)]
    scaling = gradients.ALPHA / gradients.R
    write("embeddings-tiny", dict(r=gradients.R, scaling=scaling, texts=texts, cases=cases), parts)


def real(gguf: Path) -> None:
    base = importlib.import_module("make-references")
    source = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, attn_implementation="eager").eval()
    base.check_sanity(model, tokenizer)
    prompts = json.loads((HERE / "prompts.json").read_text())
    texts = [base.encode(tokenizer, prompts[i]) for i in PROMPTS]
    parts = [vectors(model.model, tokens) for tokens in texts]
    adapted = PeftModel.from_pretrained(model, ROOT / "adapters" / EXAMPLE).eval()
    parts += [vectors(adapted.base_model.model.model, tokens) for tokens in texts]
    cases = [dict(adapter=None), dict(adapter=EXAMPLE)]
    write("embeddings", dict(model=gguf.name, texts=texts, cases=cases), parts)


if __name__ == "__main__":
    tiny()
    if len(sys.argv) > 1:
        real(Path(sys.argv[1]))
