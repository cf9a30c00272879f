// The native attention against plain arithmetic in 64 bits, in every variant; and its bits, which depend on neither how
// a prompt is cut nor who else is in the batch.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';

type Form = { readonly heads: number; readonly kvHeads: number; readonly d: number; readonly norms: boolean };
const forms: readonly Form[] = [
  { heads: 4, kvHeads: 2, d: 16, norms: false },
  { heads: 9, kvHeads: 3, d: 64, norms: false },
  { heads: 8, kvHeads: 2, d: 40, norms: true },
  { heads: 3, kvHeads: 3, d: 8, norms: true },
  { heads: 5, kvHeads: 1, d: 32, norms: false },
];
const positions = 96;
const epsilon = 1e-5;

const floats = (seed: number, length: number) => {
  const random = prng(seed);
  return Float32Array.from({ length }, () => 4 * random() - 2);
};
const tablesOf = (d: number) => {
  const angle = (i: number) => Math.floor(i / (d / 2)) / 100 ** ((i % (d / 2)) / (d / 2));
  const table = (of: (x: number) => number) =>
    Float32Array.from({ length: (positions * d) / 2 }, (_, i) => of(angle(i)));
  return { cos: table(Math.cos), sin: table(Math.sin) };
};
const normsOf = (d: number) => ({ q: floats(71, d), k: floats(72, d) });

/** The operator over keys and values that it keeps, [sequences, kvHeads, positions, d]. */
async function open({ heads, kvHeads, d, norms }: Form, sequences: number, variant: string | null = null) {
  const runtime = createOnnxRuntime({ library: null, threads: 2, spin: false, variant });
  const width = (heads + 2 * kvHeads) * d;
  const g = createGraphBuilder();
  const pool = ['B', kvHeads, positions, d];
  const operands = [
    g.input('qkv', 'float32', ['R', width]),
    g.input('key', 'float32', pool),
    g.input('value', 'float32', pool),
    g.input('last', 'int32', ['B']),
    g.weight('cos', 'float32', [positions, d / 2]),
    g.weight('sin', 'float32', [positions, d / 2]),
    ...(norms ? [g.weight('q_norm', 'float32', [d]), g.weight('k_norm', 'float32', [d])] : []),
  ];
  const out = g.output('out', 'float32', ['R', heads * d]);
  const attributes = { heads, kv_heads: kvHeads, head_size: d, epsilon: { float: epsilon } };
  g.native('Attention', operands, attributes, out);
  const { cos, sin } = tablesOf(d);
  const tables = [cos, sin].map((table) => runtime.tensor(table, [positions, d / 2]));
  const ofHeads = norms ? Object.values(normsOf(d)).map((norm) => runtime.tensor(norm, [d])) : [];
  const names = ['cos', 'sin', 'q_norm', 'k_norm'];
  const weights = new Map([...tables, ...ofHeads].map((tensor, i) => [names[i]!, tensor]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights });
  const pools = [0, 0].map(() => new Float32Array(sequences * kvHeads * positions * d).fill(Number.NaN));
  /** `lasts` of sequences from `first` on, each with as many rows of `qkv`. */
  return async (qkv: Float32Array, first: number, lasts: readonly number[]) => {
    const rows = qkv.length / width;
    const result = new Float32Array(rows * heads * d);
    const size = kvHeads * positions * d;
    await runOnce(session, ({ input, output }) => {
      input('qkv', runtime.tensor(qkv, [rows, width]));
      for (const [i, name] of ['key', 'value'].entries()) {
        const data = pools[i]!.subarray(first * size, (first + lasts.length) * size);
        input(name, runtime.tensor(data, [lasts.length, kvHeads, positions, d]));
      }
      input('last', runtime.tensor(Int32Array.from(lasts), [lasts.length]));
      output('out', runtime.tensor(result, [rows, heads * d]));
    });
    return result;
  };
}

/** All tokens of one sequence. */
function plainly({ heads, kvHeads, d, norms }: Form, qkv: Float32Array): Float64Array {
  const width = (heads + 2 * kvHeads) * d;
  const tokens = qkv.length / width;
  const { cos, sin } = tablesOf(d);
  const headAt = (token: number, head: number) => Float64Array.from(qkv.subarray(token * width + head * d).slice(0, d));
  const placed = (token: number, head: number, norm: Float32Array) => {
    let x = headAt(token, head);
    const size = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / d + epsilon);
    if (norms) x = x.map((v, i) => (v / size) * norm[i]!);
    return x.map((v, i) => {
      const [at, half] = [token * (d / 2) + (i % (d / 2)), d / 2];
      return i < half ? v * cos[at]! - x[i + half]! * sin[at]! : v * cos[at]! + x[i - half]! * sin[at]!;
    });
  };
  const norm = normsOf(d);
  const out = new Float64Array(tokens * heads * d);
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor(head / (heads / kvHeads));
      const q = placed(token, head, norm.q);
      const scores = Array.from({ length: token + 1 }, (_, p) => {
        const k = placed(p, heads + kvHead, norm.k);
        return k.reduce((sum, v, i) => sum + v * q[i]!, 0) / Math.sqrt(d);
      });
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const sum = weights.reduce((a, b) => a + b);
      for (const [p, weight] of weights.entries()) {
        const v = headAt(p, heads + kvHeads + kvHead);
        for (let i = 0; i < d; i++) out[(token * heads + head) * d + i]! += (weight / sum) * v[i]!;
      }
    }
  }
  return out;
}

for (const variant of [null, 'scalar']) {
  for (const form of forms) {
    test(`${JSON.stringify(form)}, ${variant ?? 'this processor'}`, async () => {
      for (const tokens of [1, 2, 5, 33]) {
        const qkv = floats(tokens, tokens * (form.heads + 2 * form.kvHeads) * form.d);
        const found = await (await open(form, 1, variant))(qkv, 0, [tokens - 1]);
        for (const [i, wanted] of plainly(form, qkv).entries()) {
          assert.ok(Math.abs(found[i]! - wanted) < 2e-5, `${tokens} tokens: ${found[i]} is not ${wanted}`);
        }
      }
    });
  }
}

test('however a prompt is cut, and whoever is beside it, each token has the same bits', async () => {
  for (const form of forms) {
    const width = (form.heads + 2 * form.kvHeads) * form.d;
    const outWidth = form.heads * form.d;
    const tokens = 29;
    const qkv = [1, 2, 3].map((seed) => floats(seed, tokens * width));
    const alone = await open(form, 1);
    const whole = await alone(qkv[1]!, 0, [tokens - 1]);
    for (const cuts of [[1, 28], [7, 8, 14], Array.from({ length: tokens }, () => 1)]) {
      const run = await open(form, 1);
      let done = 0;
      for (const count of cuts) {
        const piece = await run(qkv[1]!.slice(done * width, (done + count) * width), 0, [done + count - 1]);
        assert.deepEqual(piece, whole.slice(done * outWidth, (done + count) * outWidth));
        done += count;
      }
    }
    // Three sequences of other lengths, one token each at a time.
    const together = await open(form, 3);
    const pasts = [3, 20, 11];
    for (const [i, past] of pasts.entries()) await together(qkv[i]!.slice(0, past * width), i, [past - 1]);
    const next = new Float32Array(3 * width);
    for (const [i, past] of pasts.entries()) {
      next.set(qkv[i]!.subarray(past * width, (past + 1) * width), i * width);
    }
    const row = (await together(next, 0, pasts)).slice(outWidth, 2 * outWidth);
    assert.deepEqual(row, whole.slice(20 * outWidth, 21 * outWidth));
  }
});

test('a row that is no number spoils no other', async () => {
  const form = forms[1]!;
  const width = (form.heads + 2 * form.kvHeads) * form.d;
  const run = await open(form, 2);
  const qkv = floats(5, 2 * width);
  qkv.fill(Number.NaN, 0, width);
  const out = await run(qkv, 0, [0, 0]);
  assert.ok(out.subarray(0, out.length / 2).every(Number.isNaN));
  assert.ok(out.subarray(out.length / 2).every(Number.isFinite));
});

test('a position past the room is an error with words', async () => {
  const form = forms[0]!;
  const run = await open(form, 1);
  const qkv = floats(5, (form.heads + 2 * form.kvHeads) * form.d);
  await assert.rejects(run(qkv, 0, [positions]), /Attention: a position is past the room/);
});
