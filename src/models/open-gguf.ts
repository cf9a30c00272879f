// Opens a base model in one GGUF file.

import type { BaseModel, RawTensor } from '../core/base-model.ts';
import { dequantize } from '../formats/dequantize.ts';
import { elementCount } from '../formats/tensor-bytes.ts';
import { unpairRows } from '../formats/unpair-rows.ts';
import { ggufShape } from './gguf-shape.ts';
import { matchTensors } from './match-tensors.ts';
import { readGguf } from './read-gguf.ts';
import { weightFile } from './weight-file.ts';

/** Llama 3's rotary divisors, which become a part of the shape and no weight. */
const ropeFactors = 'rope_freqs.weight';

export function openGguf(path: string): BaseModel {
  const file = weightFile(path);
  const header = readGguf(path, file);
  const found = new Map<string, RawTensor>();
  for (const { name, type, shape, offset, bytes } of header.tensors) {
    found.set(name, { name, type, shape, bytes: () => file.read(offset, offset + bytes) });
  }
  const rope = found.get(ropeFactors);
  found.delete(ropeFactors);
  const factors = rope === undefined ? null : dequantize(rope.type, rope.bytes(), elementCount(rope.shape)!);
  const shape = ggufShape(header, factors);
  const tensors = matchTensors(
    shape,
    found,
    (spec) => spec.gguf,
    (tensor, { pairedHeads, ggufAddsOne }) => {
      if (ggufAddsOne) return lessOne(tensor);
      if (pairedHeads === 0) return tensor;
      return { ...tensor, bytes: () => unpairRows(tensor.bytes(), pairedHeads, shape.headDim) };
    },
  );
  return { shape, tensors };
}

/** Subtracts 1 from a norm's weights, as Hugging Face has them. */
function lessOne({ name, type, shape, bytes }: RawTensor): RawTensor {
  const values = () => dequantize(type, bytes(), elementCount(shape)!).map((value) => value - 1);
  return { name, type: 'F32', shape, bytes: () => new Uint8Array(values().buffer) };
}
