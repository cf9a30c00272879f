// Rows of a merged linear as floats, a few at a time: gain · W + scale · B A over the base's dequantised W. The runtime
// that computes decode steps computes the product too, so a piece is small beside a step.

import { encodeOnnx } from '../../formats/onnx.ts';
import { rowReader } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { buildMerge, mergeNames } from '../../graph/merge.ts';
import { runOnce } from '../../runtime/run-once.ts';
import type { Runtime, Session } from '../../runtime/session.ts';
import type { Breath } from '../adapters/breath.ts';
import type { MergePart, MergeTarget } from './merge-targets.ts';

/** Rows `from` to `to` of a linear, all of one part, or all outside the parts that the adapter changes. */
export type MergePiece = { readonly from: number; readonly to: number; readonly part: MergePart | null };

type PieceLimits = {
  /** Most multiplications in one product. */
  readonly products: number;
  readonly rows: number;
  /** Most floats of one piece. */
  readonly values: number;
};

/**
 * Limits of a piece. On the host it takes some tenths of a millisecond on one core, and its values stay in the core's
 * cache while they are rounded. On a device a piece waits for a step to end and takes little time itself; its values
 * come back within about a millisecond.
 */
const limitsOn: Readonly<Record<'host' | 'device', PieceLimits>> = {
  host: { products: 2 ** 22, rows: 64, values: Number.POSITIVE_INFINITY },
  device: { products: 2 ** 30, rows: Number.POSITIVE_INFINITY, values: 2 ** 21 },
};

function* piecesOf({ form, parts }: MergeTarget, most: PieceLimits): Generator<MergePiece> {
  const cut = function* (from: number, to: number, part: MergePart | null): Generator<MergePiece> {
    const affordable = part ? Math.floor(most.products / (part.ranks * form.k)) : most.rows;
    const rows = Math.max(1, Math.min(most.rows, affordable, Math.floor(most.values / form.k)));
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
  /** Pieces that cover all rows of the linear in order. */
  pieces(target: MergeTarget): Iterable<MergePiece>;
  /** The piece's rows [rows, k], in a buffer that the next call overwrites. */
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
  // The part of the last piece with its matrices: pieces come part by part.
  let last: { part: MergePart; matrices: ReturnType<MergePart['matrices']> } | null = null;
  const most = limitsOn[runtime.device ? 'device' : 'host'];
  return {
    pieces: (target) => piecesOf(target, most),
    async of({ name, form: { k } }, { from, to, part }) {
      const length = (to - from) * k;
      if (values.length < length) values = new Float32Array(length);
      const delta = values.subarray(0, length);
      if (part) {
        if (last?.part !== part) last = { part, matrices: part.matrices() };
        await product(runtime, session, { ...part, ...last.matrices }, scale, from - part.first, delta);
      } else delta.fill(0);
      const row = new Float32Array(k);
      const read = rowReader(base, name);
      for (let at = from; at < to; at++) {
        read(at, row);
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

/** Sets delta [rows, k] = scale · (rows of B from `first` on) · A. */
async function product(
  runtime: Runtime,
  session: Session,
  { a, b, ranks, out }: MergePart & ReturnType<MergePart['matrices']>,
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
  await runOnce(session, (tie) => {
    tie.input(mergeNames.a, runtime.tensor(a, [ranks, k]));
    tie.input(mergeNames.b, runtime.tensor(left, [rows, ranks]));
    tie.output(mergeNames.delta, runtime.tensor(delta, [rows, k]));
  });
}
