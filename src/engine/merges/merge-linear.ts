// One linear with an adapter in it: rows of merged floats into the form that is wanted, quantised once. Knows rows;
// knows no arithmetic and no model around the linear.

import type { LinearBits, LinearForm, LoweredModel, LoweredTensor } from '../../graph/lowered.ts';
import { blockSize, type CodeBits } from '../../graph/quantized.ts';
import type { Breath } from '../adapters/breath.ts';
import {
  codedLinear,
  codedTensors,
  createCodedLinear,
  createCodedRow,
  readRow,
  widen,
  writeRow,
} from './coded-linear.ts';
import type { MergeTarget } from './merge-targets.ts';
import type { MergedRows } from './merged-rows.ts';
import { type CodedRow, roundRow } from './round-row.ts';

export type MergedLinear = {
  readonly form: LinearForm;
  /** By the part's name: `blocks`, `scales`, `minimums`, or `matrix`. */
  readonly tensors: readonly (readonly [string, LoweredTensor])[];
};

export type MergeSource = { readonly base: LoweredModel; readonly rows: MergedRows; readonly breath: Breath };

/** Width of a merged linear; null keeps its own. Blocks of 32 need a `k` of whole blocks: any other is float. */
export const mergedBits = ({ bits, k }: LinearForm, wanted: LinearBits | null): LinearBits =>
  k % blockSize === 0 ? (wanted ?? bits) : 32;

export const mergeLinear = (source: MergeSource, target: MergeTarget, bits: LinearBits): Promise<MergedLinear> =>
  bits === 32 ? mergeToFloats(source, target) : mergeToCodes(source, target, bits);

async function mergeToFloats({ rows, breath }: MergeSource, target: MergeTarget): Promise<MergedLinear> {
  const { form } = target;
  const { n, k } = form;
  const matrix = new Float32Array(k * n);
  for (const piece of rows.pieces(target)) {
    const { from, to } = piece;
    const values = await rows.of(target, piece);
    for (let i = 0; i < k; i++) {
      for (let at = from; at < to; at++) matrix[i * n + at] = values[(at - from) * k + i]!;
    }
    await breath.take();
  }
  const tensors = [['matrix', { type: 'float32', shape: [k, n], data: matrix }]] as const;
  return { form: { ...form, bits: 32, corrected: false }, tensors };
}

async function mergeToCodes(
  { base, rows, breath }: MergeSource,
  target: MergeTarget,
  bits: CodeBits,
): Promise<MergedLinear> {
  const { form, name } = target;
  const { k, corrected } = form;
  const source = form.bits === 32 ? null : codedLinear(base, name);
  const merged = createCodedLinear(form, bits);
  const coded = createCodedRow(k);
  for (const piece of rows.pieces(target)) {
    const { from, to, part } = piece;
    /** The base's own codes, which go where they are; null: there are none that fit. */
    const kept = part === null && source !== null && source.bits <= bits ? source : null;
    const values = kept ? null : await rows.of(target, piece);
    for (let at = from; at < to; at++) {
      if (source) readRow(source, at, coded);
      if (values === null) widen(coded, source!.bits, bits);
      else {
        stretch(coded, part?.gains?.[at - part.first] ?? 1);
        const row = values.subarray((at - from) * k, (at - from + 1) * k);
        roundRow(row, coded, { bits, corrected, keepsGrid: source?.bits === bits });
      }
      writeRow(merged, at, coded);
      await breath.take();
    }
  }
  return { form: { ...form, bits }, tensors: codedTensors(merged) };
}

/** DoRA's gain multiplies the base's weights, and so the grid that they lie on. */
function stretch({ scales, minimums }: CodedRow, gain: number): void {
  for (let block = 0; block < scales.length; block++) {
    scales[block]! *= gain;
    minimums[block]! *= gain;
  }
}
