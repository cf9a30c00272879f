// Writes the inputs of a run over blocks: ids, lengths of sequences, their blocks, the rows whose results are wanted,
// and what the processor's linears or ONNX Runtime's attention need besides.

import type { Activations } from '../../core/base-model.ts';
import { decoderNames } from '../../graph/decoder.ts';
import type { BlockForm } from '../../graph/target.ts';
import type { ForwardBatch, TokenKind } from './forward-batch.ts';
import type { Sender } from './sender.ts';

/** @param blocks for each part its blocks, in the order of positions */
export type BlockInputs = (sender: Sender, batch: ForwardBatch, blocks: readonly (readonly number[])[]) => void;

/**
 * Fewest tokens that a device's block tables have columns for: few sizes keep recordings, and this one costs nothing.
 */
const deviceTokensLeast = 256;

/** @param activations on the processor, for each kind of token */
export function hostInputs(activations: Readonly<Record<TokenKind, Activations>>): BlockInputs {
  return (sender, batch, blocks) => {
    sendSequences(sender, batch, blocks, 1);
    let [row, coarse, sampled, coarseSampled] = [0, 0, 0, 0];
    for (const { past, to, kind, sampled: wanted } of batch.parts) {
      const isCoarse = activations[kind] === 'int8';
      if (isCoarse && coarse < row) throw new Error('what is rounded to 8 bits comes first');
      row += to - past;
      sampled += wanted.length;
      if (isCoarse) [coarse, coarseSampled] = [row, sampled];
    }
    integers(sender, decoderNames.coarse, [1])[0] = coarse;
    integers(sender, decoderNames.coarseSampled, [1])[0] = coarseSampled;
  };
}

export function deviceInputs({ length, operator }: BlockForm): BlockInputs {
  const least = Math.ceil(deviceTokensLeast / length);
  return (sender, batch, blocks) => {
    const columns = sendSequences(sender, batch, blocks, least);
    if (operator === 'own') return;
    const longest = Math.max(...batch.parts.map(({ past, to }) => to - past));
    const bounds = integers(sender, decoderNames.bounds, [3], 'host');
    // Depends on the table's size alone, so that the bounds of a recorded step stay true.
    bounds.set([longest, columns * length, columns > least ? (columns / 2) * length + 1 : 0]);
  };
}

/** @returns columns of the table, at least `least` */
function sendSequences(
  sender: Sender,
  { parts }: ForwardBatch,
  blocks: readonly (readonly number[])[],
  least: number,
): number {
  const names = decoderNames;
  const rows = parts.reduce((sum, { past, to }) => sum + to - past, 0);
  const most = Math.max(least, ...blocks.map(({ length }) => length));
  const ids = sender.memory(names.tokens, [rows], () => new BigInt64Array(rows));
  const ends = integers(sender, names.cumulative, [parts.length + 1]);
  const pasts = integers(sender, names.past, [parts.length]);
  // A power of two, which changes seldom.
  const columns = 2 ** Math.ceil(Math.log2(most));
  const table = integers(sender, names.table, [parts.length, columns]);
  const sampled: bigint[] = [];
  let at = 0;
  for (const [i, { past, to, tokens, sampled: wanted }] of parts.entries()) {
    ends[i] = at;
    pasts[i] = past;
    table.set(blocks[i]!, i * columns);
    for (const position of wanted) sampled.push(BigInt(at + position - past));
    // The embedding of each id is read and, where one is given, overwritten. Virtual tokens have ids below 0 and read
    // that of 0.
    for (let position = past; position < to; position++) ids[at++] = BigInt(Math.max(0, tokens[position]!));
  }
  ends[parts.length] = at;
  sender.memory(names.sampled, [sampled.length], () => new BigInt64Array(sampled.length)).set(sampled);
  return columns;
}

function integers(sender: Sender, name: string, shape: readonly number[], place?: 'host'): Int32Array {
  const make = () => new Int32Array(shape.reduce((product, length) => product * length, 1));
  return sender.memory(name, shape, make, place);
}
