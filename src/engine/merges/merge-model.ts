// W + scale * B A for every linear that an adapter touches, from the base's dequantised weights, quantised once. Loops
// over typed arrays.

import { type JoinedLinear, loweredName } from '../../graph/adapted-linear.ts';
import { dequantizeRow } from '../../graph/dequantize-row.ts';
import type { LinearBits, LoweredModel, LoweredTensor } from '../../graph/lowered.ts';
import { roundToBlocks } from '../../graph/quantized.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { Breath } from '../adapters/breath.ts';
import { firstOutput, joinedSizes, type ResidentAdapter } from '../adapters/resident-adapter.ts';

export type MergeOptions = {
  readonly scale: number;
  /** Of the merged linears; null keeps each one's own. */
  readonly bits: LinearBits | null;
  readonly breath: Breath;
  onProgress?(share: number): void;
};

/** Untouched weights are the base's own objects. */
export async function mergeModel(
  _runtime: Runtime,
  base: LoweredModel,
  adapter: ResidentAdapter,
  { scale, bits, breath, onProgress }: MergeOptions,
): Promise<LoweredModel> {
  const linears = new Map(base.linears);
  const weights = new Map<string, LoweredTensor>(base.weights);
  const targets = targetsOf(base, adapter);
  for (const [done, { layer, linear }] of targets.entries()) {
    const name = loweredName(layer, linear);
    const form = base.linears.get(name)!;
    const dense = await mergedRows(base, adapter, { layer, linear }, scale, breath);
    const width = bits ?? form.bits;
    for (const part of ['blocks', 'scales', 'minimums', 'matrix']) weights.delete(`${name}.${part}`);
    linears.set(name, { ...form, bits: width, corrected: false });
    if (width === 32) {
      const matrix = new Float32Array(form.n * form.k);
      for (let n = 0; n < form.n; n++) for (let i = 0; i < form.k; i++) matrix[i * form.n + n] = dense[n * form.k + i]!;
      weights.set(`${name}.matrix`, { type: 'float32', shape: [form.k, form.n], data: matrix });
    } else {
      const { codes, scales } = roundToBlocks(dense, width);
      const data = new Uint8Array((codes.length * width) / 8);
      for (let i = 0; i < codes.length; i++) data[(i * width) >> 3]! |= codes[i]! << (width === 4 && i & 1 ? 4 : 0);
      weights.set(`${name}.blocks`, { type: 'uint8', shape: [form.n, form.k / 32, 4 * width], data });
      weights.set(`${name}.scales`, {
        type: 'float32',
        shape: [(form.n * form.k) / 32],
        data: scales as Float32Array<ArrayBuffer>,
      });
    }
    onProgress?.((done + 1) / targets.length);
    await breath.take();
  }
  return { shape: base.shape, linears, weights };
}

/** Bytes of the merged weights as they are. */
export function mergedBytes(base: LoweredModel, adapter: ResidentAdapter, bits: LinearBits | null): number {
  return targetsOf(base, adapter).reduce((sum, { layer, linear }) => {
    const form = base.linears.get(loweredName(layer, linear))!;
    const width = bits ?? form.bits;
    return sum + (form.n * form.k * width) / 8 + (width === 32 ? 0 : (form.n * form.k) / 8);
  }, 0);
}

type Target = { readonly layer: number; readonly linear: JoinedLinear };

function targetsOf({ shape }: LoweredModel, adapter: ResidentAdapter): Target[] {
  return joinedSizes(shape)
    .filter(({ linear }) => adapter.linears.has(linear))
    .flatMap(({ linear, layers }) => Array.from({ length: layers }, (_, layer) => ({ layer, linear })));
}

async function mergedRows(
  base: LoweredModel,
  adapter: ResidentAdapter,
  { layer, linear }: Target,
  scale: number,
  breath: Breath,
): Promise<Float32Array> {
  const sizes = joinedSizes(base.shape).find((each) => each.linear === linear)!;
  const name = loweredName(layer, linear);
  const { n, k } = base.linears.get(name)!;
  const { parts, gains } = adapter.linears.get(linear)!;
  const dense = new Float32Array(n * k);
  for (let row = 0; row < n; row++) dequantizeRow(base, name, row, dense.subarray(row * k, (row + 1) * k));
  for (const [part, { ranks, a, b }] of parts.entries()) {
    const out = sizes.outs[part]!;
    const first = firstOutput(sizes, part);
    for (let o = 0; o < out; o++) {
      const row = dense.subarray((first + o) * k, (first + o + 1) * k);
      const gain = gains?.[layer * sizes.out + first + o] ?? 1;
      for (let i = 0; i < k; i++) row[i]! *= gain;
      for (let rank = layer * ranks; rank < (layer + 1) * ranks; rank++) {
        const weight = scale * b[rank * out + o]!;
        for (let i = 0; i < k; i++) row[i]! += weight * a[rank * k + i]!;
      }
      if (o % 64 === 63) await breath.take();
    }
  }
  return dense;
}
