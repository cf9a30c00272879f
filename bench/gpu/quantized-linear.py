"""Checks and times the kernels of QuantizedLinear on a card, beside torch.

    python3 bench/gpu/quantized-linear.py [--out FOLDER] [--shapes 1b,8b] [--rows 1,16,64,256] [--bits 4,8] [--seconds 90]

Checks: random sizes of 4 and 8 bits in float16 and bfloat16, with and without minimums and bias, against the same
products in float64; the bits of a row alone and in a batch; launches that come again. Times: every linear of every layer
of a decode step as one CUDA graph, beside torch's products of float16 weights as one CUDA graph, and beside the time in
which copies move as many bytes as the packed weights have. Needs torch, numpy and a driver. Any failure ends with a
status other than 0."""

import argparse, ctypes, json, os, random, time

parser = argparse.ArgumentParser()
parser.add_argument("--out", default=os.environ.get("OUT", "."))
parser.add_argument("--shapes", default="1b,8b")
parser.add_argument("--rows", default="1,16,64,256")
parser.add_argument("--bits", default="4,8")
parser.add_argument("--seconds", type=float, default=90)
options = parser.parse_args()
began = time.monotonic()

import numpy, torch

import card, tiles
from card import SHAPES, I, P, at, captured, copy_bandwidth, seconds_of

THREADS, ROWS = 256, {1: 16, 2: 32, 4: 64}
KERNELS = [f"quantized_linear_{bits}_{rows}" for rows in ROWS.values() for bits in (4, 8)]
source = card.text_of("quantized-linear.cu")


class Job(ctypes.Structure):
    _fields_ = [(name, P) for name in ("x", "weights", "bias", "y", "partials", "counters")] + [
        (name, I) for name in ("rows", "n", "k", "minimums", "parts", "columns", "turns", "splits")]


class Linear:
    """The tensors and launch parameters of a product."""

    def __init__(self, functions, x, weights, n, bits, minimums, bias=None, shared=None):
        self.functions, self.bits, self.x, self.weights, self.bias = functions, bits, x, weights, bias
        rows, k = x.shape
        self.cuts = cuts = tiles.cut(rows, n, k)
        self.y = torch.full((rows, n), float("nan"), device="cuda", dtype=x.dtype)
        make = lambda count: torch.zeros(max(1, count), dtype=torch.int32, device="cuda")
        # Launches of one stream share their workspaces, as in the server.
        partials, counters = shared or (make(cuts["partials"] // 4), make(cuts["counters"]))
        self.partials, self.counters = partials, counters
        self.job = Job(at(x), at(weights), at(bias), at(self.y), at(partials), at(counters), rows, n, k, int(minimums),
                       cuts["parts"], cuts["columns"], cuts["turns"], cuts["splits"])

    def launch(self):
        cuts = self.cuts
        function = self.functions[f"quantized_linear_{self.bits}_{ROWS[cuts['row_tiles']]}"]
        card.launch(function, cuts["blocks"], THREADS, cuts["shared"], self.job)


def check(functions, real, seed):
    random.seed(seed)
    torch.manual_seed(seed)
    generator = numpy.random.default_rng(seed)
    bits, has_minimums, has_bias = random.choice([4, 8]), random.random() < 0.5, random.random() < 0.5
    rows = random.choice([1, 3, 16, 17, 32, 33, 64, 65, 130, 300])
    n, k = random.choice([random.randint(1, 700), 1024, 4096]), 32 * random.choice([random.randint(1, 40), 64, 128])
    padded = -(-n // 32) * 32
    codes = generator.integers(0, 1 << bits, (padded, k), dtype=numpy.uint8)
    scales = generator.normal(size=(padded, k // 32)) / (1 << bits) / k**0.5
    minimums = generator.normal(size=scales.shape) / k**0.5 if has_minimums else None
    weights = torch.from_numpy(tiles.pack(codes, scales, minimums, bits)).cuda()
    values = torch.from_numpy(tiles.values_of(codes, scales, minimums, bits)[:n]).cuda()
    x = torch.randn(rows, k, device="cuda").to(real)
    bias = torch.randn(n, device="cuda").to(real) if has_bias else None
    linear = Linear(functions, x, weights, n, bits, has_minimums, bias)
    for _ in range(2):
        linear.y.fill_(float("nan"))
        linear.launch()
    torch.cuda.synchronize()
    told = f"seed {seed}: {rows} rows, [{n}, {k}], {bits} bits"
    if linear.counters.any():
        raise SystemExit(f"{told}: counters were left")
    expected = x.double() @ values.T + (0 if bias is None else bias.double())
    error = ((linear.y.double() - expected).norm() / expected.norm()).item()
    limit = 2.0**-9 if real == torch.bfloat16 else 2.0**-12
    if not error < 2 * limit:
        raise SystemExit(f"{told}: off by {error}")
    # Alone and in a smaller batch, whose launches are cut otherwise.
    for count in {1, min(rows, 16), min(rows, 32), min(rows, 64)}:
        first = random.randrange(rows - count + 1)
        part = Linear(functions, x[first : first + count].clone(), weights, n, bits, has_minimums, bias)
        part.launch()
        torch.cuda.synchronize()
        if not torch.equal(part.y, linear.y[first : first + count]):
            raise SystemExit(f"{told}: {count} of them have other bits by themselves")
    return error


def step_of(functions, shape, rows, bits):
    """Every linear of every layer, torch's products of the same sizes, and the bytes of the packed weights."""
    layers, linears = SHAPES[shape]
    steps, theirs, bytes_ = [], [], 0
    shared = [torch.zeros(8 << 20, dtype=torch.int32, device="cuda"), torch.zeros(1 << 16, dtype=torch.int32, device="cuda")]
    for inputs, outs in linears:
        n = sum(outs)
        x = torch.randn(rows, inputs, device="cuda", dtype=torch.half)
        size = -(-n // 32) * (inputs // 32) * (128 * bits + 64)
        for _ in range(layers):
            # Any bytes take the same time. Zeros would make numbers that are none.
            weights = torch.full((size,), 0x33, dtype=torch.uint8, device="cuda")
            steps.append(Linear(functions, x, weights, n, bits, False, shared=shared))
            theirs.append((x, torch.full((inputs, n), 0.01, dtype=torch.half, device="cuda"), torch.empty_like(steps[-1].y)))
            bytes_ += size

    def by_torch():
        for x, weight, y in theirs:
            torch.matmul(x, weight, out=y)

    return steps, by_torch, bytes_


def run_all(steps):
    for step in steps:
        step.launch()


def main():
    result = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "checks": [], "times": []}
    write = lambda: json.dump(result, open(os.path.join(options.out, "quantized-linear.json"), "w"), indent=1)
    start = time.monotonic()
    functions = {real: card.compiled(source, "quantized-linear.cu", KERNELS, real == torch.bfloat16)
                 for real in (torch.half, torch.bfloat16)}
    print(f"compiled twice in {time.monotonic() - start:.1f} s", flush=True)
    for real in functions:
        errors = [check(functions[real], real, seed) for seed in range(32)]
        result["checks"].append({"real": str(real), "cases": len(errors), "largest": max(errors)})
        print(f"{real}: {len(errors)} cases, at most {max(errors):.1e} of the norm; rows alone have the same bits", flush=True)
    write()
    bandwidth = copy_bandwidth()
    result["bandwidth"] = bandwidth
    print(f"copies {bandwidth / 1e9:.0f} GB/s\n| shape | bits | rows | ms | torch, float16 | ideal | of ideal |", flush=True)
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for shape in options.shapes.split(","):
        for bits in map(int, options.bits.split(",")):
            for rows in map(int, options.rows.split(",")):
                if time.monotonic() - began > options.seconds:
                    print("the time is over")
                    write()
                    return
                steps, by_torch, bytes_ = step_of(functions[torch.half], shape, rows, bits)
                ours = seconds_of(captured(lambda: run_all(steps)))
                theirs = seconds_of(captured(by_torch))
                ideal = bytes_ / bandwidth
                result["times"].append({"shape": shape, "bits": bits, "rows": rows, "ms": ours * 1e3,
                                        "torchMs": theirs * 1e3, "idealMs": ideal * 1e3})
                print(f"| {shape} | {bits} | {rows} | {ours * 1e3:.3f} | {theirs * 1e3:.3f} | {ideal * 1e3:.3f} "
                      f"| {ideal / ours:.2f} |", flush=True)
                del steps, by_torch
                torch.cuda.empty_cache()
                write()


main()
