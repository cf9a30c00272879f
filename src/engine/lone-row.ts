// A row that decodes alone, beside one that nobody reads. Some kernels sum in another order for one row than for many
// (MLAS on AVX2), and where activations are rounded to 8 bits, over a model's depth that last bit grows to the size of
// the rounding: the text would depend on who else is there. Two rows take the kernel of many. Knows batches, no graph.
//
// The other row is the one before it: the spare one before row 0, or the last of another group. It takes its token at
// the position that comes after all it holds, and which its own next step writes.

/** What is looked at of a batch for the decoder. */
type Batch = {
  readonly phase: string;
  readonly first: number;
  readonly pasts: readonly number[];
  readonly tokens: readonly number[];
  readonly sampled: readonly number[];
  readonly adapters?: readonly unknown[];
  readonly pastBefore?: number;
};

/** The same step with the row before it. */
function besideAnother<B extends Batch>(batch: B): B {
  const { first, pasts, tokens, adapters, pastBefore = 0 } = batch;
  return {
    ...batch,
    first: first - 1,
    pasts: [pastBefore, ...pasts],
    tokens: [...tokens, ...tokens],
    // The head sees one row either way, since nothing reads its last bits again; adapters may be on it, by row.
    ...(adapters?.some(Boolean) ? { sampled: [0, 1], adapters: [null, ...adapters] } : { sampled: [1] }),
  };
}

const lastOf = (logits: Float32Array, { sampled }: Batch) =>
  logits.subarray(logits.length - logits.length / sampled.length);

/**
 * `forward`, with a lone decoding row run beside another where this machine's kernels need it: the first such
 * step of each kind runs both ways and compares every bit. Running a step again writes the same keys and values again.
 * @param kindOf tells apart steps whose kernels may differ
 */
export function evenForLoneRows<B extends Batch>(
  forward: (batch: B) => Promise<Float32Array>,
  kindOf: (batch: B) => string,
) {
  const unevenKinds = new Map<string, boolean>();
  return async (batch: B): Promise<Float32Array> => {
    const lone = batch.phase === 'decode' && batch.pasts.length === 1;
    const kind = lone ? kindOf(batch) : '';
    const uneven = unevenKinds.get(kind);
    if (!lone || uneven === false) return forward(batch);
    const pair = besideAnother(batch);
    if (uneven) return lastOf(await forward(pair), pair);
    const alone = (await forward(batch)).slice();
    const beside = lastOf(await forward(pair), pair);
    unevenKinds.set(
      kind,
      alone.some((logit, i) => logit !== beside[i]),
    );
    return beside;
  };
}
