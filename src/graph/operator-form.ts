// A lowered model in the packing of ONNX Runtime's own operators, which serve where there are no native ones: on a
// device, and for training's products of floats. Linear `<name>` [n, k] is then
// - 4 or 8 bits: `<name>.blocks` uint8 [n, k/32, 4 * bits], `<name>.scales` float32 [n * k/32] and, if `corrected`,
//   `<name>.minimums` float32 [k/32, n];
// - 16 or 32 bits: `<name>.matrix` float32 [k, n], transposed.
// Where products are of bfloat16, all of these floats are that.

import { BFloat16Array, toBfloat16 } from '../core/bfloat16.ts';
import { isFloats, type LinearForm, type LoweredModel, type LoweredTensor, type RoundedTensor } from './lowered.ts';
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

type Parts = ReadonlyMap<string, LoweredTensor | RoundedTensor>;
type Floats = Float32Array<ArrayBuffer> | BFloat16Array;
type Precision = 'float32' | 'bfloat16';

export type OperatorModel = Omit<LoweredModel, 'weights'> & { readonly weights: Parts };

/** Parts by packed tensor, collected with it: models that share a tensor share its parts. */
const known = { float32: new WeakMap<LoweredTensor, Parts>(), bfloat16: new WeakMap<LoweredTensor, Parts>() };

/**
 * The model with its linears in this packing, and `model`'s own objects for all else. `floats` repacks only linears of
 * floats.
 */
export function operatorForm(model: LoweredModel, which?: 'all' | 'floats', precision?: 'float32'): LoweredModel;
export function operatorForm(model: LoweredModel, which: 'all' | 'floats', precision: Precision): OperatorModel;
export function operatorForm(
  model: LoweredModel,
  which: 'all' | 'floats' = 'all',
  precision: Precision = 'float32',
): OperatorModel {
  const weights = new Map<string, LoweredTensor | RoundedTensor>();
  for (const [name, tensor] of model.weights) {
    const linear = name.replace(/\.packed$/, '');
    if (linear === name || (which === 'floats' && !hasFloats(model.linears.get(linear)))) {
      weights.set(name, tensor);
      continue;
    }
    const form = linear === 'embedding' ? embeddingForm(model) : model.linears.get(linear)!;
    const parts = known[precision].get(tensor) ?? unpack(form, tensor, precision);
    known[precision].set(tensor, parts);
    for (const [part, unpacked] of parts) {
      const { n, k } = form;
      const shape = part === 'blocks' ? [n, k] : [n, k / blockSize];
      weights.set(`${linear}.${part}`, linear === 'embedding' ? { ...unpacked, shape } : unpacked);
    }
  }
  return { ...model, weights };
}

const hasFloats = (form: LinearForm | undefined) => form !== undefined && isFloats(form.bits);

function unpack(form: LinearForm, tensor: LoweredTensor, precision: Precision): Parts {
  const { bits } = form;
  return isFloats(bits)
    ? unpackFloats(form, packedFloats(bits, tensor), precision)
    : unpackCodes(form as PackedForm, tensor.data as Uint8Array<ArrayBuffer>, precision);
}

function unpackFloats({ n, k }: LinearForm, data: PackedFloats, precision: Precision): Parts {
  const matrix = precision === 'float32' ? new Float32Array(n * k) : new BFloat16Array(n * k);
  const row = new Float32Array(k);
  for (let at = 0; at < n; at++) {
    readFloats(data, k, at, row);
    const values = precision === 'float32' ? row : toBfloat16(row);
    for (let i = 0; i < k; i++) matrix[i * n + at] = values[i]!;
  }
  return new Map([['matrix', tensorOf([k, n], matrix)]]);
}

function unpackCodes(form: PackedForm, data: Uint8Array<ArrayBuffer>, precision: Precision): Parts {
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
  const floats = (shape: readonly number[], values: Float32Array<ArrayBuffer>) =>
    tensorOf(shape, precision === 'float32' ? values : toBfloat16(values));
  const parts = new Map<string, LoweredTensor | RoundedTensor>([
    ['blocks', { type: 'uint8', shape: [n, count, 4 * bits], data: blocks }],
    ['scales', floats([scales.length], scales)],
  ]);
  if (corrected) parts.set('minimums', floats([count, n], minimums));
  return parts;
}

const tensorOf = (shape: readonly number[], data: Floats): LoweredTensor | RoundedTensor =>
  data instanceof Float32Array ? { type: 'float32', shape, data } : { type: 'bfloat16', shape, data };

/** Gone with the tensor. */
const rounded = new WeakMap<LoweredTensor, RoundedTensor>();

/** Floats of the model as products of a precision read them; what is of that already as it is. */
export function inPrecision(
  tensor: LoweredTensor | RoundedTensor,
  precision: Precision,
): LoweredTensor | RoundedTensor {
  if (precision === 'float32' || tensor.type !== 'float32') return tensor;
  const made = rounded.get(tensor) ?? { type: precision, shape: tensor.shape, data: toBfloat16(tensor.data) };
  rounded.set(tensor, made);
  return made;
}
