"""lm-eval's local-completions: a small multiple-choice task, scored by log-likelihood, on the base and on an adapter.

It finds by itself that the server has /tokenizer_info, and makes tokens by /tokenize.
"""

import json
import pathlib
import tempfile

import lm_eval
from lm_eval.tasks import TaskManager

from common import ADAPTER, BASE, URL, expect

ROWS = [
    ("The capital of France is", [" Paris", " Oslo"]), ("The capital of Italy is", [" Rome", " Lima"]),
    ("Two plus two is", [" four", " purple"]), ("The sun rises in the", [" east", " soup"]),
    ("Water is made of hydrogen and", [" oxygen", " cheese"]), ("A week has seven", [" days", " moons"]),
    ("The opposite of hot is", [" cold", " table"]), ("Dogs like to chase", [" cats", " theorems"]),
]  # fmt: skip

with tempfile.TemporaryDirectory() as folder:
    rows = pathlib.Path(folder, "rows.jsonl")
    rows.write_text("".join(json.dumps({"q": q, "choices": choices, "gold": 0}) + "\n" for q, choices in ROWS))
    pathlib.Path(folder, "small.yaml").write_text(
        f"""task: small
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: gold
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
    )
    found = {}
    for model in (BASE, ADAPTER):
        result = lm_eval.simple_evaluate(
            model="local-completions",
            model_args={
                "model": model, "base_url": f"{URL}/v1/completions", "num_concurrent": 2, "max_retries": 1,
            },  # fmt: skip
            tasks=["small"],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            bootstrap_iters=0,
        )
        found[model] = result["results"]["small"]["acc,none"]
print(found)
expect(found[BASE] >= 0.75, found)
