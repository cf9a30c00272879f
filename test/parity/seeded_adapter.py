"""Builds the adapters that seeded-adapters.json describes; seeded-adapter.ts builds the same bytes without Python.

A is uniform with the standard deviation 1 / sqrt(in), so that A x is about as large as x; B is uniform with `stdB`.
Tensors take their values in the order of `pairs`: layer by layer, module by module, A before B. `pairs` says what
tensors there are and `config` what PEFT is told, each for itself, so that PEFT checks one against the other.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

HERE = Path(__file__).parent
SPECS = json.loads((HERE / "seeded-adapters.json").read_text())
TYPES = dict(F32=torch.float32, F16=torch.float16, BF16=torch.bfloat16)


def hashes(seed: int, first: int, count: int) -> np.ndarray:
    """SplitMix32 as a counter's hash: number i of a seed is known without the ones before it."""
    u32 = np.uint32
    index = np.arange(first + 1, first + count + 1, dtype=u32)
    t = u32(seed * 0x85EBCA6B & 0xFFFFFFFF) + index * u32(0x9E3779B9)
    t = (t ^ (t >> u32(16))) * u32(0x21F0AAAD)
    t = (t ^ (t >> u32(15))) * u32(0x735A2D97)
    return t ^ (t >> u32(15))


def modules_of(spec: dict) -> list[tuple[str, dict, int]]:
    """(module path, linear, r) in the order of the values."""
    found = []
    for pair in spec["pairs"]:
        head = pair["modules"] == ["lm_head"]
        for layer in [None] if head else pair.get("layers", range(SPECS["layers"])):
            for name in pair["modules"]:
                linear = SPECS["linears"][name]
                path = linear["path"] if head else f"model.layers.{layer}.{linear['path']}"
                found.append((path, linear, pair["r"]))
    return found


def config_bytes(spec: dict) -> bytes:
    return (json.dumps(SPECS["common"] | spec["config"], indent=2) + "\n").encode()


def weights_bytes(spec: dict, magnitudes: dict[str, np.ndarray]) -> bytes:
    """`magnitudes` has DoRA's vector of each module path."""
    tensors, taken = {}, 0

    def uniform(rows: int, columns: int, std: float) -> torch.Tensor:
        nonlocal taken
        values = hashes(spec["seed"], taken, rows * columns)
        taken += rows * columns
        floats = ((values / 2**32 * 2 - 1) * (math.sqrt(3) * std)).astype(np.float32)
        return torch.from_numpy(floats.reshape(rows, columns)).to(TYPES[spec["type"]])

    for path, linear, r in modules_of(spec):
        prefix = f"base_model.model.{path}"
        tensors[f"{prefix}.lora_A.weight"] = uniform(r, linear["in"], 1 / math.sqrt(linear["in"]))
        tensors[f"{prefix}.lora_B.weight"] = uniform(linear["out"], r, spec["stdB"])
        if spec.get("magnitudes"):
            tensors[f"{prefix}.lora_magnitude_vector"] = torch.from_numpy(magnitudes[path])
    return save(tensors, metadata={"format": "pt"})
