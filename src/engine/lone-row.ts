// A row that decodes alone, beside one that nobody reads. Some kernels sum in another order for one row than for many
// (MLAS on AVX2), and where activations are rounded to 8 bits, over a model's depth that last bit grows to the size of
// the rounding: the text would depend on who else is there. Two rows take the kernel of many. Knows batches, no graph.

import type { ForwardBatch } from './decoder.ts';
import { spareRow } from './kv-cache.ts';

type Forward = (batch: ForwardBatch) => Promise<Float32Array>;

/** The same step with the spare row before it; that row's one token is its whole past. */
function besideSpare(batch: ForwardBatch): ForwardBatch {
  const { pasts, tokens, adapters } = batch;
  return {
    ...batch,
    first: spareRow,
    pasts: [0, ...pasts],
    tokens: [...tokens, ...tokens],
    // The head, too, must see two rows.
    sampled: [0, 1],
    ...(adapters && { adapters: [null, ...adapters] }),
  };
}

/**
 * `forward`, with a lone decoding row run beside the spare one where this machine's kernels need it: the first such
 * step runs both ways and compares every bit. Running a step again writes the same keys and values again.
 */
export function evenForLoneRows(forward: Forward): Forward {
  let uneven: boolean | null = null;
  const besides = async (batch: ForwardBatch) => {
    const logits = await forward(besideSpare(batch));
    return logits.subarray(logits.length / 2);
  };
  return async (batch) => {
    const lone = batch.phase === 'decode' && batch.first === 0 && batch.pasts.length === 1;
    if (!lone || uneven === false) return forward(batch);
    if (uneven) return besides(batch);
    const alone = (await forward(batch)).slice();
    const beside = await besides(batch);
    uneven = alone.some((logit, i) => logit !== beside[i]);
    return beside;
  };
}
