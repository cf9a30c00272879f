// A lowered model in the packing of ONNX Runtime's own operators, which serve where there are no native ones: on a
// device, and for training's products of floats. Linear `<name>` [n, k] is then
// - 4 or 8 bits: `<name>.blocks` uint8 [n, k/32, 4 * bits], `<name>.scales` float32 [n * k/32] and, if `corrected`,
//   `<name>.minimums` float32 [k/32, n];
// - 16 or 32 bits: `<name>.matrix` float32 [k, n], transposed.

import { isFloats, type LinearForm, type LoweredModel, type LoweredTensor } from './lowered.ts';
import {
  createCodedRow,
  embeddingForm,
  type PackedFloats,
  type PackedForm,
  packedFloats,
  packedRows,
  readFloats,
} from './packed.ts';
import { blockSize } from './quantized.ts';

type Parts = ReadonlyMap<string, LoweredTensor>;

/** Parts by packed tensor, collected with it: models that share a tensor share its parts. */
const known = new WeakMap<LoweredTensor, Parts>();

/**
 * The model with its linears in this packing, and `model`'s own objects for all else. `floats` repacks only linears of
 * floats.
 */
export function operatorForm(model: LoweredModel, which: 'all' | 'floats' = 'all'): LoweredModel {
  const weights = new Map<string, LoweredTensor>();
  for (const [name, tensor] of model.weights) {
    const linear = name.replace(/\.packed$/, '');
    if (linear === name || (which === 'floats' && !hasFloats(model.linears.get(linear)))) {
      weights.set(name, tensor);
      continue;
    }
    const form = linear === 'embedding' ? embeddingForm(model) : model.linears.get(linear)!;
    const parts = known.get(tensor) ?? unpack(form, tensor);
    known.set(tensor, parts);
    for (const [part, unpacked] of parts) {
      const { n, k } = form;
      const shape = part === 'blocks' ? [n, k] : [n, k / blockSize];
      weights.set(`${linear}.${part}`, linear === 'embedding' ? { ...unpacked, shape } : unpacked);
    }
  }
  return { ...model, weights };
}

const hasFloats = (form: LinearForm | undefined) => form !== undefined && isFloats(form.bits);

function unpack(form: LinearForm, tensor: LoweredTensor): Parts {
  const { bits } = form;
  return isFloats(bits)
    ? unpackFloats(form, packedFloats(bits, tensor))
    : unpackCodes(form as PackedForm, tensor.data as Uint8Array<ArrayBuffer>);
}

function unpackFloats({ n, k }: LinearForm, data: PackedFloats): Parts {
  const matrix = new Float32Array(n * k);
  const row = new Float32Array(k);
  for (let at = 0; at < n; at++) {
    readFloats(data, k, at, row);
    for (let i = 0; i < k; i++) matrix[i * n + at] = row[i]!;
  }
  return new Map([['matrix', { type: 'float32', shape: [k, n], data: matrix }]]);
}

function unpackCodes(form: PackedForm, data: Uint8Array<ArrayBuffer>): Parts {
  const { bits, n, k, corrected } = form;
  const count = k / blockSize;
  const blocks = new Uint8Array((n * k * bits) / 8);
  const scales = new Float32Array(n * count);
  const minimums = new Float32Array(corrected ? n * count : 0);
  const rows = packedRows(form, data);
  const coded = createCodedRow(k);
  const { codes } = coded;
  for (let at = 0; at < n; at++) {
    rows.read(at, coded);
    if (bits === 8) blocks.set(codes, at * k);
    else for (let i = 0; i < k; i += 2) blocks[(at * k + i) >> 1] = codes[i]! | (codes[i + 1]! << 4);
    scales.set(coded.scales, at * count);
    if (corrected) for (let block = 0; block < count; block++) minimums[block * n + at] = coded.minimums[block]!;
  }
  const parts = new Map<string, LoweredTensor>([
    ['blocks', { type: 'uint8', shape: [n, count, 4 * bits], data: blocks }],
    ['scales', { type: 'float32', shape: [scales.length], data: scales }],
  ]);
  if (corrected) parts.set('minimums', { type: 'float32', shape: [count, n], data: minimums });
  return parts;
}
