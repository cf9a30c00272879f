// Rows of a merged linear as floats: gain · W + scale · B A over the base's dequantised W, a few at a time. The product
// is the runtime's, on the threads that decode steps use, so a piece is a small part of a step.

import { encodeOnnx } from '../../formats/onnx.ts';
import { dequantizeRow } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { buildMerge, mergeNames } from '../../graph/merge.ts';
import type { Runtime, Session } from '../../runtime/session.ts';
import type { Breath } from '../adapters/breath.ts';
import type { MergePart, MergeTarget } from './merge-targets.ts';

/** Rows `from` to `to` of a linear, all of one part, or of none that the adapter changes. */
export type MergePiece = { readonly from: number; readonly to: number; readonly part: MergePart | null };

/** Multiplications in one product: some tenths of a millisecond on one core. */
const productMax = 2 ** 22;
/** Rows whose values lie in a core's cache while they are rounded. */
const rowsMax = 64;

/** All rows of the linear in order. */
export function* mergePieces({ form, parts }: MergeTarget): Generator<MergePiece> {
  const cut = function* (from: number, to: number, part: MergePart | null): Generator<MergePiece> {
    const affordable = part ? Math.floor(productMax / (part.ranks * form.k)) : rowsMax;
    const rows = Math.max(1, Math.min(rowsMax, affordable));
    for (let at = from; at < to; at += rows) yield { from: at, to: Math.min(to, at + rows), part };
  };
  let next = 0;
  for (const part of parts) {
    yield* cut(next, part.first, null);
    next = part.first + part.out;
    yield* cut(part.first, next, part);
  }
  yield* cut(next, form.n, null);
}

export type MergedRows = {
  /** [rows, k] in a buffer that the next call overwrites. */
  of(target: MergeTarget, piece: MergePiece): Promise<Float32Array>;
  release(): void;
};

/** @param scale multiplies B A */
export async function createMergedRows(
  runtime: Runtime,
  base: LoweredModel,
  scale: number,
  breath: Breath,
): Promise<MergedRows> {
  const session = await runtime.session(encodeOnnx(buildMerge()), { weights: new Map() });
  let values = new Float32Array(0);
  return {
    async of({ name, form: { k } }, { from, to, part }) {
      const length = (to - from) * k;
      if (values.length < length) values = new Float32Array(length);
      const delta = values.subarray(0, length);
      if (part) await product(runtime, session, part, scale, from - part.first, delta);
      else delta.fill(0);
      const row = new Float32Array(k);
      for (let at = from; at < to; at++) {
        dequantizeRow(base, name, at, row);
        const gain = part?.gains?.[at - part.first] ?? 1;
        const start = (at - from) * k;
        for (let i = 0; i < k; i++) delta[start + i]! += gain * row[i]!;
        await breath.take();
      }
      return delta;
    },
    release: () => session.release(),
  };
}

/** delta [rows, k] = scale · (rows `first` and on of B) · A */
async function product(
  runtime: Runtime,
  session: Session,
  { a, b, ranks, out }: MergePart,
  scale: number,
  first: number,
  delta: Float32Array,
): Promise<void> {
  const k = a.length / ranks;
  const rows = delta.length / k;
  const left = new Float32Array(rows * ranks);
  for (let row = 0; row < rows; row++) {
    for (let rank = 0; rank < ranks; rank++) left[row * ranks + rank] = scale * b[rank * out + first + row]!;
  }
  const tensors = [
    runtime.tensor(a, [ranks, k]),
    runtime.tensor(left, [rows, ranks]),
    runtime.tensor(delta, [rows, k]),
  ];
  const [ofA, ofB, ofDelta] = tensors as [(typeof tensors)[0], (typeof tensors)[0], (typeof tensors)[0]];
  const binding = session.bind();
  binding.input(mergeNames.a, ofA);
  binding.input(mergeNames.b, ofB);
  binding.output(mergeNames.delta, ofDelta);
  try {
    await session.run(binding);
  } finally {
    binding.release();
    for (const tensor of tensors) tensor.release();
  }
}
