// A lowered model in the packing that the project's own kernels on a CUDA card read (native/cuda/quantized-linear.cu).
// Linear `<name>` [n, k] of 4 or 8 bits is `<name>.packed`: tiles of 32 outputs and 32 inputs, all inputs of 32 outputs
// side by side, outputs past n as zeros,
//
//     codes of a warp's 32 threads, 16 bytes each (twice at 8 bits); scales [32]; minimums [32] of a corrected form
//
// Scales and minimums are half floats, to which those of Q4_K and Q5_K are rounded. As in packed.ts a minimum is at 4
// bits what code 0 is worth. Linears of floats are as ONNX Runtime's operators want them (operator-form.ts).

import type { LoweredModel, LoweredTensor } from './lowered.ts';
import { operatorForm } from './operator-form.ts';
import { createCodedRow, embeddingForm, type PackedForm, packedRows, packedTensor } from './packed.ts';
import { blockSize, zeroOf } from './quantized.ts';

/** Outputs of a tile. */
const tileOutputs = 32;
const unitBytes = 512;

/** Tiles of packed tensors: models that share a tensor share its tiles, which are gone with it. */
const known = new WeakMap<LoweredTensor, LoweredTensor>();

export function cardForm(model: LoweredModel): LoweredModel {
  const weights = new Map<string, LoweredTensor>();
  for (const [name, tensor] of operatorForm(model, 'floats').weights) {
    const linear = name.replace(/\.packed$/, '');
    if (linear === name) {
      weights.set(name, tensor);
      continue;
    }
    const form = linear === 'embedding' ? embeddingForm(model) : (model.linears.get(linear) as PackedForm);
    const tiled = known.get(tensor) ?? packedTensor(tilesOf(form, tensor.data as Uint8Array<ArrayBuffer>));
    known.set(tensor, tiled);
    weights.set(name, tiled);
  }
  return { ...model, weights };
}

/** What an operator is told of tiles. */
export const tileAttributes = ({
  n,
  k,
  bits,
  corrected,
}: Pick<PackedForm, 'n' | 'k' | 'corrected'> & { bits: number }) => ({
  n,
  k,
  bits,
  minimums: Number(corrected),
});

function tilesOf(form: PackedForm, packed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const { bits, n, k, corrected } = form;
  const blocks = k / blockSize;
  const codeBytes = (unitBytes * bits) / 4;
  const tileBytes = codeBytes + 2 * tileOutputs * (corrected ? 2 : 1);
  const tiles = new Uint8Array(Math.ceil(n / tileOutputs) * blocks * tileBytes);
  const halves = new Float16Array(tiles.buffer);
  const words = new Uint32Array(tiles.buffer);
  const shift = bits === 4 ? zeroOf(bits) : 0;
  const rows = packedRows(form, packed);
  const coded = createCodedRow(k);
  const { codes, scales, minimums } = coded;
  const codeWords = new Uint32Array(codes.buffer);
  for (let row = 0; row < n; row++) {
    rows.read(row, coded);
    const output = row % tileOutputs;
    // The place of a column in the matrix units' products, such that a thread's results are 8 neighbours.
    const product = (output % 8) >> 1;
    const firstThread = 4 * (2 * (output >> 3) + (output % 2));
    let tile = Math.floor(row / tileOutputs) * blocks * tileBytes;
    for (let block = 0; block < blocks; block++, tile += tileBytes) {
      const half = (tile + codeBytes) / 2 + output;
      halves[half] = scales[block]!;
      if (corrected) halves[half + tileOutputs] = minimums[block]! - shift * scales[block]!;
      for (let part = 0; part < 4; part++) {
        const from = block * blockSize + 8 * part;
        const place = tile + 16 * (firstThread + part);
        if (bits === 4) writeNibbles(tiles, place + 4 * product, codes, from);
        else {
          // Eight bytes as two words.
          const to = (place + (product >> 1) * unitBytes + (product % 2) * 8) / 4;
          words[to] = codeWords[from / 4]!;
          words[to + 1] = codeWords[from / 4 + 1]!;
        }
      }
    }
  }
  return tiles;
}

/** Eight codes as a word: pair i in nibbles i and i + 4. */
function writeNibbles(to: Uint8Array, at: number, codes: Uint8Array, from: number): void {
  for (let i = 0; i < 4; i++) {
    const first = from + (i & 1) * 4 + (i >> 1);
    to[at + i] = codes[first]! | (codes[first + 2]! << 4);
  }
}
