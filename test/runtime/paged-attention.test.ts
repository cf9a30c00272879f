// PagedAttention against the same sums in 64 bits, and against itself: alone, with other sequences, in cuts, on other
// numbers of threads.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';
import type { Session } from '../../src/runtime/session.ts';

type Form = {
  readonly heads: number;
  readonly kvHeads: number;
  readonly dim: number;
  /** Numbers of a head that rotate. */
  readonly turning: number;
  readonly block: number;
  /** Window of positions; 0 for none. */
  readonly window: number;
  readonly softcap: number;
};

const positions = 1024;
const plain: Form = { heads: 6, kvHeads: 2, dim: 64, turning: 64, block: 32, window: 0, softcap: 0 };

type Runtime = ReturnType<typeof createOnnxRuntime>;
const runtimes = new Map<string, Runtime>();
function runtimeOf(variant: string | null, threads: number): Runtime {
  const key = `${variant} ${threads}`;
  const runtime = runtimes.get(key) ?? createOnnxRuntime({ library: null, threads, spin: false, variant });
  runtimes.set(key, runtime);
  return runtime;
}

/** A pool and the sequences in it; `run` computes the next tokens of some of them. */
class Attention {
  readonly form: Form;
  readonly runtime: Runtime;
  readonly keys: Float16Array;
  readonly values: Float16Array;
  #session: Promise<Session>;
  #free: number[];

  constructor(form: Form, blocks: number, variant: string | null = null, threads = 2) {
    const { heads, kvHeads, dim, turning, block, window, softcap } = form;
    this.form = form;
    this.runtime = runtimeOf(variant, threads);
    // Positions that were never written may hold anything.
    this.keys = new Float16Array(blocks * kvHeads * dim * block).fill(Number.NaN);
    this.values = new Float16Array(blocks * kvHeads * dim * block).fill(Number.NaN);
    this.#free = Array.from({ length: blocks }, (_, i) => (i * 7) % blocks).filter((b, i, all) => all.indexOf(b) === i);
    for (let b = 0; b < blocks; b++) if (!this.#free.includes(b)) this.#free.push(b);
    const g = createGraphBuilder();
    g.native(
      'PagedAttention',
      [
        g.input('qkv', 'float32', ['T', (heads + 2 * kvHeads) * dim]),
        g.input('keys', 'float16', ['blocks', kvHeads, dim, block]),
        g.input('values', 'float16', ['blocks', kvHeads, block, dim]),
        g.input('cumulative', 'int32', ['B1']),
        g.input('past', 'int32', ['B']),
        g.input('table', 'int32', ['B', 'most']),
        g.input('cos', 'float32', [positions, turning / 2]),
        g.input('sin', 'float32', [positions, turning / 2]),
      ],
      {
        num_heads: heads,
        kv_num_heads: kvHeads,
        local_window_size: window || -1,
        ...(softcap > 0 ? { softcap: { float: softcap } } : {}),
      },
      g.output('out', 'float32', ['T', heads * dim]),
    );
    this.#session = this.runtime.session(encodeOnnx(g.build()), { weights: new Map() });
  }

  /** Blocks for a sequence of that many tokens. */
  take(tokens: number): number[] {
    return this.#free.splice(0, Math.ceil(tokens / this.form.block));
  }

  async run(rows: readonly { past: number; blocks: readonly number[]; qkv: Float32Array }[]): Promise<Float32Array[]> {
    const { runtime } = this;
    const { heads, kvHeads, dim, turning, block } = this.form;
    const width = (heads + 2 * kvHeads) * dim;
    const counts = rows.map(({ qkv }) => qkv.length / width);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const cumulative = Int32Array.from([0, ...counts.map((_, i) => counts.slice(0, i + 1).reduce((a, b) => a + b, 0))]);
    const most = Math.max(0, ...rows.map(({ blocks }) => blocks.length));
    const table = Int32Array.from(rows.flatMap(({ blocks }) => [...blocks, ...Array(most - blocks.length).fill(-1)]));
    const qkv = Float32Array.from(rows.flatMap((row) => [...row.qkv]));
    const out = new Float32Array(total * heads * dim);
    const pool = this.keys.length / (kvHeads * dim * block);
    const [cos, sin] = turns(turning);
    await runOnce(await this.#session, ({ input, output }) => {
      input('qkv', runtime.tensor(qkv, [total, width]));
      input('keys', runtime.tensor(this.keys, [pool, kvHeads, dim, block]));
      input('values', runtime.tensor(this.values, [pool, kvHeads, block, dim]));
      input('cumulative', runtime.tensor(cumulative, [rows.length + 1]));
      input(
        'past',
        runtime.tensor(
          Int32Array.from(rows, ({ past }) => past),
          [rows.length],
        ),
      );
      input('table', runtime.tensor(table, [rows.length, most]));
      input('cos', runtime.tensor(cos, [positions, turning / 2]));
      input('sin', runtime.tensor(sin, [positions, turning / 2]));
      output('out', runtime.tensor(out, [total, heads * dim]));
    });
    return rows.map((_, i) => out.slice(cumulative[i]! * heads * dim, cumulative[i + 1]! * heads * dim));
  }
}

function turns(turning: number): [Float32Array, Float32Array] {
  const angles = Float32Array.from({ length: (positions * turning) / 2 }, (_, i) => {
    const half = turning / 2;
    return Math.floor(i / half) * 10_000 ** (-(i % half) / half);
  });
  return [angles.map(Math.cos), angles.map(Math.sin)];
}

/** Attention of a whole sequence at once in 64 bits, with keys and values rounded as in the pool. */
function reference({ heads, kvHeads, dim, turning, window, softcap }: Form, qkv: Float32Array): Float64Array {
  const width = (heads + 2 * kvHeads) * dim;
  const tokens = qkv.length / width;
  const [cos, sin] = turns(turning);
  const rotated = (token: number, head: number) => {
    const x = qkv.subarray(token * width + head * dim, token * width + (head + 1) * dim);
    const half = turning / 2;
    return Float64Array.from(x, (value, i) => {
      if (i >= turning) return value;
      const at = token * half + (i % half);
      return i < half ? value * cos[at]! - x[i + half]! * sin[at]! : value * cos[at]! + x[i - half]! * sin[at]!;
    });
  };
  const out = new Float64Array(tokens * heads * dim);
  for (let h = 0; h < heads; h++) {
    const g = heads + Math.floor(h / (heads / kvHeads));
    const keys = Array.from({ length: tokens }, (_, t) => rotated(t, g).map(Math.f16round));
    for (let t = 0; t < tokens; t++) {
      const q = rotated(t, h);
      const first = window > 0 ? Math.max(0, t + 1 - window) : 0;
      const scores = keys.slice(first, t + 1).map((key) => {
        const score = key.reduce((sum, k, d) => sum + k * q[d]!, 0) / Math.sqrt(dim);
        return softcap > 0 ? softcap * Math.tanh(score / softcap) : score;
      });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let d = 0; d < dim; d++) {
        const at = (j: number) => Math.f16round(qkv[(first + j) * width + (g + kvHeads) * dim + d]!);
        out[(t * heads + h) * dim + d] = weights.reduce((total, weight, j) => total + weight * at(j), 0) / sum;
      }
    }
  }
  return out;
}

const numbers = (seed: number, length: number) => {
  let state = seed + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state / 2 ** 31) * 2;
  });
};
const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => Buffer.from(buffer, byteOffset, byteLength);
const widthOf = ({ heads, kvHeads, dim }: Form) => (heads + 2 * kvHeads) * dim;

const forms = fc.record({
  shape: fc.constantFrom(
    { heads: 6, kvHeads: 2, dim: 64, turning: 64 },
    { heads: 9, kvHeads: 3, dim: 64, turning: 32 },
    { heads: 4, kvHeads: 1, dim: 80, turning: 80 },
    { heads: 2, kvHeads: 2, dim: 16, turning: 16 },
    { heads: 8, kvHeads: 1, dim: 128, turning: 128 },
  ),
  block: fc.constantFrom(32, 64),
  window: fc.constantFrom(0, 0, 5, 300),
  softcap: fc.constantFrom(0, 0, 3),
});

for (const variant of [null, 'scalar']) {
  test(`attention is what 64 bits say, on ${variant ?? 'this processor'}`, async () => {
    await fc.assert(
      fc.asyncProperty(forms, fc.integer({ min: 1, max: 300 }), fc.nat(), async ({ shape, ...rest }, tokens, seed) => {
        const form = { ...shape, ...rest };
        const pool = new Attention(form, 16, variant);
        const qkv = numbers(seed, tokens * widthOf(form));
        const [out] = await pool.run([{ past: 0, blocks: pool.take(tokens), qkv }]);
        const expected = reference(form, qkv);
        for (const [i, value] of out!.entries()) {
          // A key between two half floats may be rounded to either: 2^-11 of it.
          assert.ok(Math.abs(value - expected[i]!) < 5e-4, `${i}: ${value} is not ${expected[i]}`);
        }
      }),
      { numRuns: variant === null ? 12 : 4 },
    );
  });
}

test('a token has the same bits in any company, on any threads and however its prompt is cut', async () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(forms, fc.array(cuts, { minLength: 1, maxLength: 4 }), fc.nat(), async (some, sequences, seed) => {
      const form = { ...some.shape, block: some.block, window: some.window, softcap: some.softcap };
      const width = widthOf(form);
      const all = sequences.map((cut, i) => {
        const tokens = cut.reduce((a, b) => a + b, 0) + 3;
        return { cut, tokens, qkv: numbers(seed + i, tokens * width) };
      });
      const whole = await Promise.all(
        all.map(async ({ tokens, qkv }) => {
          const alone = new Attention(form, 40, null, 1);
          return (await alone.run([{ past: 0, blocks: alone.take(tokens), qkv }]))[0]!;
        }),
      );
      const company = new Attention(form, 40 * all.length, null, 3);
      const places = all.map(({ tokens }) => company.take(tokens));
      const pasts = all.map(() => 0);
      const results: Float32Array[][] = all.map(() => []);
      for (let round = 0; pasts.some((past, i) => past < all[i]!.tokens); round++) {
        const next = all.flatMap(({ cut, tokens, qkv }, i) => {
          const past = pasts[i]!;
          // The last cut goes on token by token, as decode steps do.
          const count = Math.min(cut[round] ?? 1, tokens - past);
          if (count === 0) return [];
          return [{ i, past, blocks: places[i]!, qkv: qkv.slice(past * width, (past + count) * width), count }];
        });
        const outs = await company.run(next);
        for (const [at, { i, count }] of next.entries()) {
          results[i]!.push(outs[at]!);
          pasts[i]! += count;
        }
      }
      for (const [i, pieces] of results.entries()) {
        assert.deepEqual(Buffer.concat(pieces.map(bytesOf)), bytesOf(whole[i]!));
      }
    }),
    { numRuns: 10 },
  );
});

test('a sequence without a number leaves the others alone', async () => {
  const pool = new Attention(plain, 16);
  const width = widthOf(plain);
  const good = { past: 0, blocks: pool.take(40), qkv: numbers(1, 40 * width) };
  const bad = {
    past: 0,
    blocks: pool.take(40),
    qkv: numbers(2, 40 * width).fill(Number.POSITIVE_INFINITY, 10 * width),
  };
  const [alone] = await pool.run([good]);
  const [beside, broken] = await pool.run([good, bad]);
  assert.deepEqual(beside, alone);
  assert.ok(broken!.subarray(10 * plain.heads * plain.dim).every(Number.isNaN));
  assert.ok(broken!.subarray(0, 10 * plain.heads * plain.dim).every(Number.isFinite));
});

test('what does not fit is refused', async () => {
  const pool = new Attention(plain, 4);
  const qkv = numbers(3, 40 * widthOf(plain));
  await assert.rejects(pool.run([{ past: 0, blocks: [0], qkv }]), /longer than its blocks/);
  await assert.rejects(pool.run([{ past: 0, blocks: [0, 4], qkv }]), /no such block/);
  await assert.rejects(pool.run([{ past: 0, blocks: [0, -1], qkv }]), /no such block/);
  await assert.rejects(pool.run([{ past: positions, blocks: Array(40).fill(0), qkv }]), /longer than its blocks/);
});
