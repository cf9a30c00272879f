// The one path from token ids to text: engine sequences -> detokenise -> stop strings -> pieces and outcomes.
// It knows no HTTP and no wire format; the routes give these pieces their shapes.

import { mergeKey } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import type { SamplingParams } from '../core/sampling-params.ts';
import type { SequenceEnd, Timings, TokenLogprobs, WeightBits } from '../protocol/messages.ts';
import { type HeldAdapters, paramOf } from './held-adapters.ts';
import type { Services } from './services.ts';
import { stopStrings } from './stop-strings.ts';

/** One sequence to generate. */
export type Ask = {
  readonly promptTokens: readonly number[];
  readonly params: SamplingParams;
  readonly stop: readonly string[];
  /** The clock's monotonic reading when the request came. */
  readonly arrivedAt: number;
};

/** What became certain with one token. `token` is null for text that only the end of the sequence made certain. */
export type Piece = {
  readonly token: number | null;
  readonly text: string;
  readonly logprobs: TokenLogprobs | null;
};

/** A generated position, kept where log-probabilities were asked for. */
export type Position = { readonly token: number; readonly logprobs: TokenLogprobs };

export type Outcome = {
  readonly text: string;
  readonly positions: readonly Position[];
  /** `abort` is seen only by a caller that has left. */
  readonly finishReason: 'stop' | 'length' | 'abort';
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  /** It ran on merged weights, of these bits; null: on the base's. */
  readonly mergedBits: WeightBits | null;
  readonly timings: Timings;
};

/** A request's sequences, and the adapters that apply to each of them. */
export type Work = { readonly asks: readonly Ask[]; readonly held: HeldAdapters };

/** `choice` is the position of the sequence in the asks. */
export type GenerationListener = {
  onPiece?(piece: Piece, choice: number): void;
  onOutcome?(outcome: Outcome, choice: number): void;
};

export type Generation = {
  /** All outcomes in the order of the asks, or the first error: then the other sequences are aborted. */
  readonly outcomes: Promise<Outcome[]>;
  abort(): void;
};

/**
 * Throws what the engine refuses with; then none of the sequences runs. From here on the adapters are this function's:
 * they are let go when the last sequence has ended, which may be after the answer, since aborted ones end a step later.
 */
export function generate(services: Services, { asks, held }: Work, listener: GenerationListener = {}): Generation {
  const sequences: Sequence[] = [];
  const place = services.metrics.adaptersQueued({
    tenant: held.tenant,
    names: held.adapters.map(({ reference }) => reference),
  });
  let ended = 0;
  let isStarted = false;
  const releaseIfOver = () => {
    if (!isStarted || ended < sequences.length) return;
    place.ends();
    held.release();
  };
  const onEnded = () => {
    ended++;
    releaseIfOver();
  };
  const abort = () => {
    for (const sequence of sequences) sequence.abort();
  };
  try {
    for (const [choice, ask] of asks.entries()) {
      sequences.push(startSequence(services, { ask, held, choice, listener, onStart: place.runs, onEnded }));
    }
  } catch (error) {
    abort();
    throw error;
  } finally {
    isStarted = true;
    releaseIfOver();
  }
  const outcomes = Promise.all(sequences.map((sequence) => sequence.outcome));
  outcomes.catch(abort);
  return { outcomes, abort };
}

type Sequence = { readonly outcome: Promise<Outcome>; abort(): void };

type SequenceStart = {
  readonly ask: Ask;
  readonly held: HeldAdapters;
  readonly choice: number;
  readonly listener: GenerationListener;
  onStart(): void;
  onEnded(): void;
};

function startSequence(services: Services, { ask, held, choice, listener, onStart, onEnded }: SequenceStart): Sequence {
  const { engine, tokenizer, metrics, traffic, clock } = services;
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  // An error reaches whoever waits for it; where a later ask was refused, nobody does.
  promise.catch(() => {});
  const detokenizer = tokenizer.detokenizer();
  const stops = stopStrings(ask.stop);
  const countToken = traffic.counterOf(held);
  const positions: Position[] = [];
  let text = '';
  let completionTokens = 0;
  let lastTokenAt: number | null = null;

  const emit = (token: number | null, released: string, logprobs: TokenLogprobs | null) => {
    text += released;
    listener.onPiece?.({ token, text: released, logprobs }, choice);
  };

  const onEnd = (end: SequenceEnd) => {
    onEnded();
    // A sequence that a stop string ended was aborted by us: for the caller it is a stop, whatever came after.
    const reason = stops.found ? 'stop' : end.reason;
    if (!stops.found) completionTokens = end.completionTokens;
    const { maxTokens } = ask.params;
    metrics.sequenceFinished({ ...end, reason, completionTokens, maxTokens, e2eMs: clock.monotonic() - ask.arrivedAt });
    if (reason === 'error') {
      reject(failure(services, end, held));
      return;
    }
    const tail = stops.push(detokenizer.flush()) + stops.flush();
    if (tail !== '') emit(null, tail, null);
    const { promptTokens, cachedTokens, mergedBits = null, timings } = end;
    const outcome: Outcome = {
      text,
      positions,
      finishReason: reason,
      promptTokens,
      completionTokens,
      cachedTokens,
      mergedBits,
      timings,
    };
    listener.onOutcome?.(outcome, choice);
    resolve(outcome);
  };

  const abort = engine.submit(
    { promptTokens: ask.promptTokens, params: ask.params, ...weightsOf(services, held) },
    {
      onStart,
      onToken({ token, logprobs = null }) {
        if (stops.found) return;
        const now = clock.monotonic();
        if (lastTokenAt === null) metrics.firstToken(now - ask.arrivedAt);
        else metrics.nextToken(now - lastTokenAt);
        lastTokenAt = now;
        completionTokens++;
        countToken(now);
        if (logprobs !== null) positions.push({ token, logprobs });
        emit(token, stops.push(detokenizer.push(token)), logprobs);
        if (stops.found) abort();
      },
      onEnd,
    },
  );
  return { outcome: promise, abort };
}

/** Only a merge that the tenant wants itself: another's rounding is no part of this one's answers. */
const weightsOf = ({ merges }: Services, { tenant, applied: adapters }: HeldAdapters) => ({
  adapters,
  mergeKey: adapters.length === 0 ? null : merges.keyFor(tenant, mergeKey(adapters)),
});

function failure({ registry, logger }: Services, { error }: SequenceEnd, held: HeldAdapters): LorikeetError {
  const { code, message, digest } = error ?? { code: 'engine_failed', message: 'The engine gave no reason.' };
  const param = code.startsWith('adapter_') ? paramOf(held, digest) : undefined;
  const damaged = digest ?? (held.applied.length === 1 ? held.applied[0]?.files.digest : undefined);
  if (code === 'adapter_corrupt' && damaged !== undefined) {
    logger.error({ digest: damaged }, 'an adapter is damaged');
    registry.markCorrupt(damaged).catch((cause) => logger.error({ err: cause }, 'a damaged adapter was not marked'));
  }
  return new LorikeetError(code, { message, ...(param === undefined ? {} : { param }) });
}
