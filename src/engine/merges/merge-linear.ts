// One linear with an adapter in it: gain · W + scale · B A, from the base's dequantised weights, quantised once. Knows
// rows; knows no model and no session.

import { dequantizeRow } from '../../graph/dequantize-row.ts';
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
import type { MergePart, MergeTarget } from './merge-targets.ts';
import { type CodedRow, freshGrid, keepGrid } from './round-row.ts';

export type MergedLinear = {
  readonly form: LinearForm;
  /** By the part's name: `blocks`, `scales`, `minimums`, or `matrix`. */
  readonly tensors: readonly (readonly [string, LoweredTensor])[];
};

export type MergeRule = {
  /** Multiplies B A. */
  readonly scale: number;
  /** null keeps the linear's own. */
  readonly bits: LinearBits | null;
  readonly breath: Breath;
};

/** Width of a merged linear. Blocks of 32 need a `k` of whole blocks; any other stays float. */
export const mergedBits = ({ bits, k }: LinearForm, wanted: LinearBits | null): LinearBits =>
  k % blockSize === 0 ? (wanted ?? bits) : 32;

export function mergeLinear(base: LoweredModel, target: MergeTarget, rule: MergeRule): Promise<MergedLinear> {
  const bits = mergedBits(target.form, rule.bits);
  return bits === 32 ? mergeToFloats(base, target, rule) : mergeToCodes(base, target, bits, rule);
}

async function mergeToFloats(base: LoweredModel, target: MergeTarget, rule: MergeRule): Promise<MergedLinear> {
  const { form } = target;
  const { n, k } = form;
  const matrix = new Float32Array(k * n);
  const row = new Float32Array(k);
  for (let at = 0; at < n; at++) {
    mergedRow(base, target, rule.scale, at, row);
    for (let i = 0; i < k; i++) matrix[i * n + at] = row[i]!;
    await rule.breath.take();
  }
  const tensors = [['matrix', { type: 'float32', shape: [k, n], data: matrix }]] as const;
  return { form: { ...form, bits: 32, corrected: false }, tensors };
}

async function mergeToCodes(
  base: LoweredModel,
  target: MergeTarget,
  bits: CodeBits,
  { scale, breath }: MergeRule,
): Promise<MergedLinear> {
  const { form, name, parts } = target;
  const { n, k, corrected } = form;
  const source = form.bits === 32 ? null : codedLinear(base, name);
  const merged = createCodedLinear(form, bits);
  const row = new Float32Array(k);
  const coded = createCodedRow(k);
  for (let at = 0; at < n; at++) {
    const part = parts.find(({ first, out }) => at >= first && at < first + out);
    if (source) readRow(source, at, coded);
    if (part || source === null || source.bits > bits) {
      mergedRow(base, target, scale, at, row);
      if (source?.bits === 4 && bits === 4) {
        stretch(coded, part?.gains?.[at - part.first] ?? 1);
        keepGrid(row, bits, coded);
      } else freshGrid(row, bits, corrected, coded);
    } else widen(coded, source.bits, bits);
    writeRow(merged, at, coded);
    await breath.take();
  }
  return { form: { ...form, bits }, tensors: codedTensors(merged) };
}

/** Row `at` of the merged linear, [k]. */
function mergedRow(base: LoweredModel, { name, parts }: MergeTarget, scale: number, at: number, row: Float32Array) {
  dequantizeRow(base, name, at, row);
  const part = parts.find(({ first, out }) => at >= first && at < first + out);
  if (part) addPart(row, part, at - part.first, scale);
}

/** row = gain · row + scale · B A */
function addPart(row: Float32Array, { ranks, out, a, b, gains }: MergePart, at: number, scale: number): void {
  const k = row.length;
  if (gains) for (let i = 0; i < k; i++) row[i]! *= gains[at]!;
  for (let rank = 0; rank < ranks; rank++) {
    const weight = scale * b[rank * out + at]!;
    if (weight === 0) continue;
    const from = rank * k;
    for (let i = 0; i < k; i++) row[i]! += weight * a[from + i]!;
  }
}

/** DoRA's gain multiplies the base's weights, and so the grid that they lie on. */
function stretch({ scales, minimums }: CodedRow, gain: number): void {
  for (let block = 0; block < scales.length; block++) {
    scales[block]! *= gain;
    minimums[block]! *= gain;
  }
}
