"""Checks and times the kernel of GroupedLora on a card, beside torch.

    python3 bench/gpu/grouped-lora.py [--out FOLDER] [--shapes 1b,8b] [--rows 1,16,64,256] [--seconds 60] [--variants]

Checks: random sizes, ranks and tables in float16 and bfloat16, against the same sums in float64; the bits of a row
alone and in a batch; launches that are replayed as a graph. Times: all adapter work of a decode step, every linear of
every layer, as one CUDA graph and as single launches, beside gathered batched products of torch as single launches, and
beside the time in which copies move as many bytes as the pages have. Needs torch (whose wheels bring NVRTC) and a
driver. Any failure ends with a status other than 0."""

import argparse, ctypes, json, os, random, time

parser = argparse.ArgumentParser()
parser.add_argument("--out", default=os.environ.get("OUT", "."))
parser.add_argument("--shapes", default="1b,8b")
parser.add_argument("--rows", default="1,16,64,256")
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--variants", action="store_true", help="other sizes of blocks and spans, too")
options = parser.parse_args()
began = time.monotonic()

import torch

import card
from card import SHAPES, I, P, at, captured, copy_bandwidth, seconds_of

source = card.text_of("grouped-lora.cu")
RANKS, TILE, THREADS, BLOCK_OUTPUTS = 8, 16, 128, 256


class Job(ctypes.Structure):
    _fields_ = [(name, P) for name in ("x", "base", "gain", "y", "pages", "shares", "groups")] + [
        ("a", P * 3), ("b", P * 3), ("inner", P), ("counters", P), ("out", I * 3), ("parts", I), ("input", I), ("width", I),
        ("most", I), ("group_count", I), ("span", I), ("spans", I), ("gain_stride", I), ("shrinks", I), ("blocks_of_group", I),
        ("tiles", I)]


def compiled(bfloat16, text=source):
    """Compiles the kernels: {aligned: CUfunction}."""
    found = card.compiled(text, "grouped-lora.cu", ("grouped_lora", "grouped_lora_unaligned"), bfloat16)
    return {True: found["grouped_lora"], False: found["grouped_lora_unaligned"]}


def groups_of(pages, spare=0):
    """Groups rows by adapter, at most 16 in a group: int32 [G, 20], then `spare` empty groups."""
    by_first = {}
    for row, list_ in enumerate(pages):
        by_first.setdefault(list_[0] if list_ else -1, []).append(row)
    table = []
    for first, rows in by_first.items():
        count = 0 if first < 0 else sum(page >= 0 for page in pages[rows[0]])
        for start in range(0, len(rows), TILE):
            part = rows[start : start + TILE]
            table.append([count, len(part), 0, 0] + part + [-1] * (TILE - len(part)))
    table += [[0, 0, 0, 0] + [-1] * TILE] * spare
    return torch.tensor(table, dtype=torch.int32, device="cuda")


class Linear:
    """The tensors and launch parameters of a joined linear of one layer."""

    def __init__(self, functions, x, base, pages, shares, a, b, gain=None, y=None, spare=0, span=None, groups=None, busy=1024):
        self.functions, span = functions, span or (1024 if x.shape[1] > 4096 else 512)
        self.x, self.base, self.a, self.b, self.gain = x, base, a, b, gain
        self.y = torch.full_like(base, float("nan")) if y is None else y
        self.rows, self.most = len(pages), max([len(p) for p in pages], default=0)
        wide = [p + [-1] * (self.most - len(p)) for p in pages]
        self.pages = torch.tensor(wide, dtype=torch.int32, device="cuda").reshape(self.rows, self.most)
        taken = [[shares[row]] * len(p) + [0.0] * (max(self.most, 1) - len(p)) for row, p in enumerate(pages)]
        self.shares = torch.tensor(taken, dtype=torch.float32, device="cuda")
        self.groups = groups_of(wide, spare) if groups is None else groups
        outs, inputs = [each.shape[2] for each in b], x.shape[1]
        self.aligned = inputs % 8 == 0 and all(out % 8 == 0 for out in outs)
        spans = -(-inputs // span)
        self.inner = torch.full((max(1, self.rows * len(a) * self.most * spans * RANKS),), float("nan"), device="cuda")
        self.counters = torch.zeros(2 + len(self.groups), dtype=torch.int32, device="cuda")
        job = Job()
        job.x, job.base, job.gain, job.y = at(x), at(base), at(gain), at(self.y)
        job.pages, job.shares, job.groups = at(self.pages), at(self.shares), at(self.groups)
        job.inner, job.counters = at(self.inner), at(self.counters)
        for part in range(len(a)):
            job.a[part], job.b[part], job.out[part] = at(a[part]), at(b[part]), outs[part]
        job.parts, job.input, job.width, job.most = len(a), inputs, sum(outs), self.most
        job.group_count, job.span, job.spans = len(self.groups), span, spans
        job.tiles = max(1, min(8, sum(-(-out // BLOCK_OUTPUTS) for out in outs) * len(self.groups) // busy))
        job.gain_stride = 0 if gain is not None and gain.shape[0] == 1 else job.width
        job.blocks_of_group = sum(-(-out // (BLOCK_OUTPUTS * job.tiles)) for out in outs)
        job.shrinks = job.group_count * self.most * job.parts * spans
        self.job = job
        self.blocks = job.shrinks + job.group_count * job.blocks_of_group
        self.shared_bytes = max(4 * TILE * RANKS, TILE * (self.most * RANKS + 4)) * 4

    def launch(self, threads=THREADS):
        card.launch(self.functions[self.aligned], self.blocks, threads, self.shared_bytes, self.job)

    def expected(self):
        y = self.base.double()
        if self.gain is not None:
            y = y * self.gain.double()
        first = 0
        pages, shares = self.pages.cpu().tolist(), self.shares.cpu().tolist()
        for a, b in zip(self.a, self.b):
            for row in range(self.rows):
                for page, slot in enumerate(pages[row]):
                    if slot >= 0:
                        inner = a[slot].double() @ self.x[row].double() * shares[row][page]
                        y[row, first : first + b.shape[2]] += inner @ b[slot].double()
            first += b.shape[2]
        return y


def check(functions, real, seed):
    random.seed(seed)
    torch.manual_seed(seed)
    odd = seed % 4 == 3
    size = lambda most: random.randint(1, 8 * most) if odd else 8 * random.randint(1, most)
    rows, inputs, slots = random.randint(1, 40), size(600), random.randint(1, 40)
    outs = [size(300) for _ in range(random.randint(1, 3))]
    make = lambda *shape, scale=1.0: (torch.randn(*shape, device="cuda") * scale).to(real)
    adapters = [random.sample(range(slots), k=min(slots, random.choice([1, 2, 2, 4, 32]))) for _ in range(rows)]
    firsts, distinct = set(), []
    for adapter in adapters:
        if adapter[0] not in firsts:
            firsts.add(adapter[0])
            distinct.append(adapter)
    pages = [[] if random.random() < 0.2 else list(random.choice(distinct)) for _ in range(rows)]
    shares = [0.0 if random.random() < 0.1 else random.uniform(-1, 1) for _ in range(rows)]
    gain = random.choice([None, make(rows, sum(outs)), make(1, sum(outs))])
    base, in_place = make(rows, sum(outs)), random.random() < 0.5
    y = base.clone() if in_place else None
    a = [make(slots, RANKS, inputs, scale=inputs**-0.5) for _ in outs]
    b = [make(slots, RANKS, out) for out in outs]
    x = make(rows, inputs)
    step = Linear(functions, x, y if in_place else base, pages, shares, a, b, gain, y, spare=random.randint(0, 2))
    step.launch()
    torch.cuda.synchronize()
    found = step.y.clone()
    if step.counters.any():
        raise SystemExit(f"seed {seed}: counters were left")
    step.base = base
    expected = step.expected()
    error = ((found.double() - expected).norm() / expected.norm()).item()
    limit = 2.0**-9 if real == torch.bfloat16 else 2.0**-12
    if not error < 2 * limit:
        raise SystemExit(f"seed {seed}: off by {error} ({rows} rows, {inputs} inputs, {outs})")
    row = random.randrange(rows)
    alone = Linear(functions, x[row : row + 1], base[row : row + 1].clone(), [pages[row]], [shares[row]], a, b,
                   gain if gain is None or gain.shape[0] == 1 else gain[row : row + 1].clone())
    # A replayed graph finds the same addresses, so a second launch must work as the first.
    for _ in range(2):
        alone.launch()
    torch.cuda.synchronize()
    if not torch.equal(alone.y[0], found[row]):
        raise SystemExit(f"seed {seed}: row {row} has other bits alone, by {(alone.y[0] - found[row]).abs().max().item()}")
    return error


def step_of(functions, shape, rows, adapters, rank=16, span=None, busy=1024):
    """Makes every linear of every layer, torch's form of the same work, and the bytes of the pages."""
    layers, linears = SHAPES[shape]
    count = rank // RANKS
    slots = max(1, adapters * count)
    order = torch.randperm(slots).tolist()
    pages = [order[row % adapters * count : row % adapters * count + count] if adapters else [] for row in range(rows)]
    wide = [p + [-1] * (count - len(p)) for p in pages] if adapters else [[-1]] * rows
    groups = groups_of(wide)
    steps = []
    for inputs, outs in linears:
        x = torch.randn(rows, inputs, device="cuda", dtype=torch.half)
        y = torch.randn(rows, sum(outs), device="cuda", dtype=torch.half)
        for _ in range(layers):
            # A small random block is repeated: filling gigabytes with fresh numbers is slow and changes no time.
            fill = lambda *shape_: (torch.randn(min(slots, 4), *shape_[1:], device="cuda", dtype=torch.half) * 0.01)[
                torch.arange(slots, device="cuda") % min(slots, 4)]
            a = [fill(slots, RANKS, inputs) for _ in outs]
            b = [fill(slots, RANKS, out) for out in outs]
            steps.append(Linear(functions, x, y, pages, [1.0] * rows, a, b, None, y, span=span, groups=groups, busy=busy))
    listed = torch.tensor(pages, device="cuda") if adapters else None

    def by_torch():
        for step in steps:
            first = 0
            for a, b in zip(step.a, step.b):
                flat_a, flat_b = a[listed].flatten(1, 2), b[listed].flatten(1, 2)
                inner = torch.bmm(flat_a, step.x[:, :, None])
                out = b.shape[2]
                step.y[:, first : first + out] += torch.bmm(inner.transpose(1, 2), flat_b)[:, 0]
                first += out

    bytes_ = adapters * count * sum(layers * RANKS * (len(outs) * inputs + sum(outs)) * 2 for inputs, outs in linears)
    return steps, by_torch, bytes_


def run_all(steps):
    for step in steps:
        step.launch()


def main():
    result = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "checks": [], "times": []}
    write = lambda: json.dump(result, open(os.path.join(options.out, "grouped-lora.json"), "w"), indent=1)
    start = time.monotonic()
    functions = {torch.half: compiled(False), torch.bfloat16: compiled(True)}
    print(f"compiled twice in {time.monotonic() - start:.1f} s for sm_{card.capability[0]}{card.capability[1]}", flush=True)
    for real in functions:
        errors = [check(functions[real], real, seed) for seed in range(24)]
        result["checks"].append({"real": str(real), "cases": len(errors), "largest": max(errors)})
        print(f"{real}: {len(errors)} cases, at most {max(errors):.1e} of the norm; rows alone have the same bits", flush=True)
    write()
    bandwidth = copy_bandwidth()
    result["bandwidth"] = bandwidth
    print(f"copies {bandwidth / 1e9:.0f} GB/s\n| shape | rows | adapters | ms | eager | torch, gathered | ideal | of ideal |\n| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for shape in options.shapes.split(","):
        for rows in map(int, options.rows.split(",")):
            for adapters in sorted({0, 1, min(16, rows), rows}):
                if time.monotonic() - began > options.seconds:
                    print("the time is over")
                    write()
                    return
                if adapters * (84 if shape == "8b" else 26) * 2**20 > 30e9:
                    continue
                steps, by_torch, bytes_ = step_of(functions[torch.half], shape, rows, adapters)
                ours = seconds_of(captured(lambda: run_all(steps)))
                eager = seconds_of(lambda: run_all(steps), 5)
                theirs = None
                if adapters and rows <= 64 and not (shape == "8b" and rows * adapters > 1024):
                    theirs = seconds_of(by_torch, 5)
                ideal = bytes_ / bandwidth
                row = {"shape": shape, "rows": rows, "adapters": adapters, "ms": ours * 1e3, "eagerMs": eager * 1e3,
                       "torchMs": theirs and theirs * 1e3, "idealMs": ideal * 1e3}
                if options.variants and adapters in (1, rows):
                    row["variants"] = variants(shape, rows, adapters)
                result["times"].append(row)
                cell = "" if theirs is None else f"{theirs * 1e3:.2f}"
                print(f"| {shape} | {rows} | {adapters} | {ours * 1e3:.3f} | {eager * 1e3:.2f} | {cell} | {ideal * 1e3:.3f} | {ideal / ours:.2f} |"
                      + (f" {row['variants']}" if "variants" in row else ""), flush=True)
                del steps, by_torch
                torch.cuda.empty_cache()
                write()


built = {2: None}


def variants(shape, rows, adapters):
    """Milliseconds with other constants in the kernel."""
    found = {}
    for name, span, ahead, busy in (("span 1024", 1024, 2, 1024), ("span 512", 512, 2, 1024), ("ahead 4", None, 4, 1024),
                                    ("busy 512", None, 2, 512), ("busy 4096", None, 2, 4096)):
        if ahead not in built or built[ahead] is None:
            built[ahead] = compiled(False, source.replace("AHEAD = 2", f"AHEAD = {ahead}"))
        steps, _, _ = step_of(built[ahead], shape, rows, adapters, span=span, busy=busy)
        found[name] = round(seconds_of(captured(lambda: run_all(steps)), 8) * 1e3, 3)
    return found


main()
