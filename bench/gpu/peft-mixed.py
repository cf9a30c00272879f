"""Times steps of torch + PEFT with rows on different adapters (`adapter_names`), random weights in a Llama's shape.

python peft-mixed.py '{"shape": ..., "device": "cuda", "works": [{"rows": 16, "adapters": 4}], ...}'
prints one line of JSON: versions, and milliseconds of a step for each work.
"""

import json
import statistics
import sys
import time

import peft
import torch
import transformers

spec = json.loads(sys.argv[1])
shape, device, context = spec["shape"], spec["device"], spec["context"]
dtype = torch.float16 if device == "cuda" else torch.float32
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

config = transformers.LlamaConfig(
    vocab_size=shape["vocabulary"],
    hidden_size=shape["hidden"],
    intermediate_size=shape["intermediate"],
    num_hidden_layers=shape["layers"],
    num_attention_heads=shape["heads"],
    num_key_value_heads=shape["kvHeads"],
    head_dim=shape["headDim"],
    max_position_embeddings=shape["context"],
    tie_word_embeddings=shape["tiedEmbedding"],
)
torch.manual_seed(1)
torch.set_default_dtype(dtype)
with torch.device(device):
    model = transformers.LlamaForCausalLM(config)
torch.set_default_dtype(torch.float32)
count = max(work["adapters"] for work in spec["works"])
lora = peft.LoraConfig(r=spec["rank"], lora_alpha=spec["rank"], target_modules=linears, init_lora_weights=False)
model = peft.get_peft_model(model, lora, adapter_name="a0")
model = model.to(device=device, dtype=dtype).eval()
# Adds adapters as `add_adapter` does, without its walk over the whole model, which takes longer with every adapter.
for module in (module for module in model.modules() if isinstance(module, peft.tuners.lora.LoraLayer)):
    like = (module.lora_dropout, module.scaling, module.r, module.lora_alpha, module.use_dora, module.use_rslora)
    for i in range(1, count):
        for held in (module.lora_A, module.lora_B):
            of = held["a0"]
            held[f"a{i}"] = torch.nn.Linear(of.in_features, of.out_features, bias=False, device=device, dtype=dtype)
        for held in like:
            held[f"a{i}"] = held["a0"]


def synchronize():
    if device == "cuda":
        torch.cuda.synchronize()


@torch.inference_mode()
def step_ms(rows, adapters):
    names = [f"a{row % adapters}" if adapters > 0 else "__base__" for row in range(rows)]
    cache = transformers.DynamicCache()
    ids = torch.arange(rows, device=device).remainder(shape["vocabulary"])[:, None]
    size = (rows, shape["kvHeads"], context, shape["headDim"])
    for layer in range(shape["layers"]):
        cache.update(torch.zeros(size, dtype=dtype, device=device), torch.zeros(size, dtype=dtype, device=device), layer)
    times = []
    for round in range(-2, spec["rounds"]):
        synchronize()
        start = time.perf_counter()
        logits = model(input_ids=ids, past_key_values=cache, use_cache=True, adapter_names=names).logits
        logits[:, -1].argmax(-1).tolist()
        synchronize()
        if round >= 0:
            times.append(1000 * (time.perf_counter() - start))
        cache.crop(-1)
    return statistics.median(times)


rows = [{**work, "ms": step_ms(work["rows"], work["adapters"])} for work in spec["works"]]
versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
print(json.dumps({"versions": versions, "rows": rows}))
