"""Makes references/virtual-tokens.json: what PEFT says of prefix and prompt tuning over SmolLM2-135M-Instruct.

    python test/parity/make-virtual-token-references.py path/to/SmolLM2-135M-Instruct.Q4_1.gguf

transformers in float32 on the file's dequantised weights, with and without the example adapter `pirate` merged beneath.
Rows of virtual tokens are make-gradients.py's `values` times a factor, so that no file holds them. A case has the
log-probability of every token of its texts after the first.
"""

import importlib
import json
import sys
from pathlib import Path

import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "fixtures"))
gradients = importlib.import_module("make-gradients")
base_references = importlib.import_module("make-references")
# Of prompts.json: a fact, code, chat, 198 tokens of prose.
PROMPTS = [3, 24, 40, 12]
TOKENS = 40
KINDS = {
    "PREFIX_TUNING": (PrefixTuningConfig, 5.0, 1),
    "PROMPT_TUNING": (PromptTuningConfig, 0.5, 2),
}


@torch.no_grad()
def main() -> None:
    gguf = Path(sys.argv[1])
    source = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    tokenizer = AutoTokenizer.from_pretrained(**source)
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, attn_implementation="eager").eval()
    base_references.check_sanity(model, tokenizer)
    prompts = json.loads((HERE / "prompts.json").read_text())
    texts = [base_references.encode(tokenizer, prompts[i]) for i in PROMPTS]
    cases = []
    for beside in None, "pirate":
        if beside is not None:
            model = PeftModel.from_pretrained(model, HERE.parent.parent / "adapters" / beside).merge_and_unload()
        for kind, (config, factor, salt) in KINDS.items():
            tuned = get_peft_model(model, config(task_type="CAUSAL_LM", num_virtual_tokens=TOKENS)).eval()
            weight = tuned.prompt_encoder["default"].embedding.weight
            weight.data = torch.from_numpy(factor * gradients.values(weight.numel(), salt)).float().reshape(weight.shape)
            logprobs = []
            for tokens in texts:
                ids = torch.tensor([tokens])
                logits = tuned(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(tokens) : -1].double()
                chosen = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
                logprobs.append([round(value, 5) for value in chosen.tolist()])
            width = weight.shape[1]
            cases.append(dict(kind=kind, beside=beside, factor=factor, salt=salt, width=width, logprobs=logprobs))
    content = dict(model=gguf.name, tokens=TOKENS, texts=texts, cases=cases)
    (HERE / "references" / "virtual-tokens.json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
