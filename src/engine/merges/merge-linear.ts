// Merges an adapter into one linear: turns rows of merged floats into the wanted form, quantised once. Knows rows;
// knows no arithmetic and no model around the linear.

import {
  type FloatBits,
  isFloats,
  type LinearBits,
  type LinearForm,
  type LoweredModel,
  type LoweredTensor,
} from '../../graph/lowered.ts';
import {
  type CodedRow,
  createCodedRow,
  createPackedFloats,
  type PackedForm,
  packedBytes,
  packedFloatTensor,
  packedRows,
  packedTensor,
  writeFloats,
} from '../../graph/packed.ts';
import { bitsFor, type CodeBits, zeroOf } from '../../graph/quantized.ts';
import type { TakeMemory } from '../../graph/weight-memory.ts';
import type { Breath } from '../adapters/breath.ts';
import type { MergeTarget } from './merge-targets.ts';
import type { MergedRows } from './merged-rows.ts';
import { roundRow } from './round-row.ts';

export type MergedLinear = { readonly form: LinearForm; readonly packed: LoweredTensor };

export type MergeSource = {
  readonly base: LoweredModel;
  readonly rows: MergedRows;
  readonly memory: TakeMemory;
  readonly breath: Breath;
};

/**
 * Bits of a merged linear; null for `wanted` keeps its own. Blocks of 32 need a `k` of whole blocks: any other linear
 * is float.
 */
export const mergedBits = ({ bits, k }: LinearForm, wanted: LinearBits | null): LinearBits =>
  bitsFor(k, wanted ?? bits);

export const mergeLinear = (source: MergeSource, target: MergeTarget, bits: LinearBits): Promise<MergedLinear> =>
  isFloats(bits) ? mergeToFloats(source, target, bits) : mergeToCodes(source, target, bits);

async function mergeToFloats(
  { rows, memory, breath }: MergeSource,
  target: MergeTarget,
  bits: FloatBits,
): Promise<MergedLinear> {
  const form = mergedForm(target.form, bits);
  const { n, k } = form;
  const data = createPackedFloats(bits, n, k, memory);
  for (const piece of rows.pieces(target)) {
    const { from, to } = piece;
    const values = await rows.of(target, piece);
    for (let at = from; at < to; at++) writeFloats(data, k, at, values.subarray((at - from) * k, (at - from + 1) * k));
    await breath.take();
  }
  return { form, packed: packedFloatTensor(n, k, data) };
}

async function mergeToCodes(
  { base, rows, memory, breath }: MergeSource,
  target: MergeTarget,
  bits: CodeBits,
): Promise<MergedLinear> {
  const { name } = target;
  const form = mergedForm(target.form, bits);
  const { k } = form;
  const source = isFloats(target.form.bits) ? null : (target.form as PackedForm);
  const codesOfBase = source && packedRows(source, packedOf(base, name));
  const data = memory(packedBytes(form));
  const merged = packedRows(form, data);
  const coded = createCodedRow(k);
  for (const piece of rows.pieces(target)) {
    const { from, to, part } = piece;
    /** Whether the base's own codes are copied: the adapter leaves these rows alone, and the codes fit the new bits. */
    const isKept = part === null && source !== null && source.bits <= bits;
    const values = isKept ? null : await rows.of(target, piece);
    for (let at = from; at < to; at++) {
      codesOfBase?.read(at, coded);
      if (values === null) widen(coded, source!.bits, bits);
      else {
        stretch(coded, part?.gains?.[at - part.first] ?? 1);
        const row = values.subarray((at - from) * k, (at - from + 1) * k);
        roundRow(row, coded, { ...form, keepsGrid: source?.bits === bits });
      }
      merged.write(at, coded);
      await breath.take();
    }
  }
  return { form, packed: packedTensor(data) };
}

/** The form of a merged linear. New grids are rounded to half floats only where the base's own are half floats. */
export function mergedForm<Bits extends LinearBits>(
  form: LinearForm,
  bits: Bits,
): LinearForm & { readonly bits: Bits } {
  return { ...form, bits, corrected: !isFloats(bits) && form.corrected, halves: bits === form.bits && form.halves };
}

const packedOf = (model: LoweredModel, name: string) =>
  model.weights.get(`${name}.packed`)!.data as Uint8Array<ArrayBuffer>;

/** Turns codes into wider ones of the same values. */
function widen({ codes }: CodedRow, from: CodeBits, to: CodeBits): void {
  const shift = zeroOf(to) - zeroOf(from);
  if (shift > 0) for (let i = 0; i < codes.length; i++) codes[i]! += shift;
}

/** Multiplies a row's grid by DoRA's gain, as the base's weights on it are multiplied. */
function stretch({ scales, minimums }: CodedRow, gain: number): void {
  for (let block = 0; block < scales.length; block++) {
    scales[block]! *= gain;
    minimums[block]! *= gain;
  }
}
