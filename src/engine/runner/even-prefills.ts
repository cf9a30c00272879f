// Guards against devices that compute long prompts wrongly. The kernels for long pieces rely on what the device reports
// of itself: ONNX Runtime's for WebGPU give wrong attention from 32 tokens on where subgroups have 4 lanes (a software
// device). So the first long piece runs both whole and in short pieces, and where the results differ, prompts run in
// short pieces from then on. Knows runs and no graph.

/** The fields of a run that are read here. */
type Batch = {
  readonly run: {
    readonly phase: string;
    readonly pasts: readonly number[];
    readonly tokens: readonly number[];
    readonly sampled: readonly number[];
  };
};

/** Tokens of a short piece: fewer than any kernel takes for long. */
const pieceTokens = 31;

/**
 * Share of the logits' range by which two right results may differ: more than any rounding, less than a wrong
 * attention.
 */
const differenceMax = 0.05;

type Forward<B> = (batch: B) => Promise<Float32Array>;

export function evenForLongPrefills<B extends Batch>(forward: Forward<B>, warn: (message: string) => void): Forward<B> {
  let isEven: boolean | null = null;
  return async (batch) => {
    const { phase, tokens } = batch.run;
    if (phase !== 'prefill' || tokens.length <= pieceTokens || isEven === true) return forward(batch);
    if (isEven === false) return inPieces(forward, batch);
    // The comparison needs a result, also where none is asked for.
    const isAsked = batch.run.sampled.length > 0;
    const compared = isAsked ? batch : { ...batch, run: { ...batch.run, sampled: [tokens.length - 1] } };
    const whole = (await forward(compared)).slice();
    const pieces = await inPieces(forward, compared);
    isEven = agree(whole, pieces);
    if (!isEven) warn('this device computes long prompts wrongly at once: they run in pieces, which is slower');
    return isAsked ? pieces : new Float32Array(0);
  };
}

/** Runs one row's prompt piece by piece. Running it again writes the same keys and values. */
async function inPieces<B extends Batch>(forward: Forward<B>, batch: B): Promise<Float32Array> {
  const { tokens, sampled, pasts } = batch.run;
  const past = pasts[0]!;
  const found: Float32Array[] = [];
  for (let start = 0; start < tokens.length; start += pieceTokens) {
    const piece = tokens.slice(start, start + pieceTokens);
    const inPiece = sampled.filter((index) => index >= start && index < start + piece.length);
    // Every run gives results of at least one row.
    const wanted = inPiece.length > 0 ? inPiece.map((index) => index - start) : [piece.length - 1];
    const run = { ...batch.run, pasts: [past + start], tokens: piece, sampled: wanted };
    const logits = await forward({ ...batch, run });
    if (inPiece.length > 0) found.push(logits.slice());
  }
  const joined = new Float32Array(found.reduce((length, logits) => length + logits.length, 0));
  let at = 0;
  for (const logits of found) {
    joined.set(logits, at);
    at += logits.length;
  }
  return joined;
}

function agree(whole: Float32Array, pieces: Float32Array): boolean {
  const range =
    pieces.reduce((max, logit) => Math.max(max, logit)) - pieces.reduce((min, logit) => Math.min(min, logit));
  return whole.every((logit, i) => Math.abs(logit - pieces[i]!) <= differenceMax * range);
}
