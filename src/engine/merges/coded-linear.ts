// A quantised linear's rows in and out of the operators' packing. Knows where codes lie; knows no rounding.

import type { LinearForm, LoweredModel, LoweredTensor } from '../../graph/lowered.ts';
import { blockSize, type CodeBits } from '../../graph/quantized.ts';
import { type CodedRow, zeroOf } from './round-row.ts';

export type CodedLinear = {
  readonly bits: CodeBits;
  readonly n: number;
  readonly k: number;
  /** As `LinearForm` says; `minimums` is null where the form is symmetric. */
  readonly blocks: Uint8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
  readonly minimums: Float32Array<ArrayBuffer> | null;
};

/** A view of the linear `name`, which must not be of floats. */
export function codedLinear({ linears, weights }: LoweredModel, name: string): CodedLinear {
  const { bits, n, k, corrected } = linears.get(name)!;
  const data = (part: string) => weights.get(`${name}.${part}`)!.data;
  return {
    ...{ bits: bits as CodeBits, n, k },
    blocks: data('blocks') as CodedLinear['blocks'],
    scales: data('scales') as CodedLinear['scales'],
    minimums: corrected ? (data('minimums') as CodedLinear['scales']) : null,
  };
}

export function createCodedLinear({ n, k, corrected }: LinearForm, bits: CodeBits): CodedLinear {
  const blocks = (n * k) / blockSize;
  return {
    ...{ bits, n, k },
    blocks: new Uint8Array((n * k * bits) / 8),
    scales: new Float32Array(blocks),
    minimums: corrected ? new Float32Array(blocks) : null,
  };
}

export const codedTensors = ({
  bits,
  n,
  k,
  blocks,
  scales,
  minimums,
}: CodedLinear): (readonly [string, LoweredTensor])[] => [
  ['blocks', { type: 'uint8', shape: [n, k / blockSize, 4 * bits], data: blocks }],
  ['scales', { type: 'float32', shape: [scales.length], data: scales }],
  ...(minimums ? [['minimums', { type: 'float32', shape: [k / blockSize, n], data: minimums }] as const] : []),
];

export function createCodedRow(k: number): CodedRow {
  const blocks = k / blockSize;
  return { codes: new Uint8Array(k), scales: new Float32Array(blocks), minimums: new Float32Array(blocks) };
}

export function readRow({ bits, n, k, blocks, scales, minimums }: CodedLinear, row: number, coded: CodedRow): void {
  const count = k / blockSize;
  const { codes } = coded;
  const from = row * k;
  if (bits === 8) codes.set(blocks.subarray(from, from + k));
  else {
    for (let i = 0; i < k; i += 2) {
      const byte = blocks[(from + i) >> 1]!;
      codes[i] = byte & 15;
      codes[i + 1] = byte >> 4;
    }
  }
  coded.scales.set(scales.subarray(row * count, (row + 1) * count));
  for (let block = 0; block < count; block++) coded.minimums[block] = minimums ? minimums[block * n + row]! : 0;
}

export function writeRow({ bits, n, k, blocks, scales, minimums }: CodedLinear, row: number, coded: CodedRow): void {
  const count = k / blockSize;
  const { codes } = coded;
  const to = row * k;
  if (bits === 8) blocks.set(codes, to);
  else for (let i = 0; i < k; i += 2) blocks[(to + i) >> 1] = codes[i]! | (codes[i + 1]! << 4);
  scales.set(coded.scales, row * count);
  if (minimums) for (let block = 0; block < count; block++) minimums[block * n + row] = coded.minimums[block]!;
}

/** The same values in wider codes. */
export function widen({ codes }: CodedRow, from: CodeBits, to: CodeBits): void {
  const shift = zeroOf(to) - zeroOf(from);
  if (shift > 0) for (let i = 0; i < codes.length; i++) codes[i]! += shift;
}
