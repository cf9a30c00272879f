// The one path from token ids to text: engine sequences -> detokenise -> stop strings -> pieces and outcomes.
// It knows no HTTP and no wire format; the routes give these pieces their shapes.

import type { AppliedAdapter } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import type { SamplingParams } from '../core/sampling-params.ts';
import type { SequenceEnd, Timings, TokenLogprobs } from '../protocol/messages.ts';
import type { Services } from './services.ts';
import { stopStrings } from './stop-strings.ts';

/** One sequence to generate. */
export type Ask = {
  readonly promptTokens: readonly number[];
  readonly params: SamplingParams;
  readonly stop: readonly string[];
  readonly adapters: readonly AppliedAdapter[];
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
  readonly timings: Timings;
};

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

/** Throws what the engine refuses with; then none of the sequences runs. */
export function generate(services: Services, asks: readonly Ask[], listener: GenerationListener = {}): Generation {
  const sequences: Sequence[] = [];
  const abort = () => {
    for (const sequence of sequences) sequence.abort();
  };
  try {
    for (const [choice, ask] of asks.entries()) sequences.push(startSequence(services, ask, listener, choice));
  } catch (error) {
    abort();
    throw error;
  }
  const outcomes = Promise.all(sequences.map((sequence) => sequence.outcome));
  outcomes.catch(abort);
  return { outcomes, abort };
}

type Sequence = { readonly outcome: Promise<Outcome>; abort(): void };

function startSequence(services: Services, ask: Ask, listener: GenerationListener, choice: number): Sequence {
  const { engine, tokenizer, metrics, clock } = services;
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  // An error reaches whoever waits for it; where a later ask was refused, nobody does.
  promise.catch(() => {});
  const detokenizer = tokenizer.detokenizer();
  const stops = stopStrings(ask.stop);
  const positions: Position[] = [];
  let text = '';
  let completionTokens = 0;
  let lastTokenAt: number | null = null;

  const emit = (token: number | null, released: string, logprobs: TokenLogprobs | null) => {
    text += released;
    listener.onPiece?.({ token, text: released, logprobs }, choice);
  };

  const onEnd = (end: SequenceEnd) => {
    // A sequence that a stop string ended was aborted by us: for the caller it is a stop, whatever came after.
    const reason = stops.found ? 'stop' : end.reason;
    if (!stops.found) completionTokens = end.completionTokens;
    metrics.sequenceFinished({ ...end, reason, completionTokens, e2eMs: clock.monotonic() - ask.arrivedAt });
    if (reason === 'error') {
      const { code, message } = end.error ?? { code: 'engine_failed', message: 'The engine gave no reason.' };
      reject(new LorikeetError(code, { message }));
      return;
    }
    const tail = stops.push(detokenizer.flush()) + stops.flush();
    if (tail !== '') emit(null, tail, null);
    const { promptTokens, cachedTokens, timings } = end;
    const outcome: Outcome = {
      text,
      positions,
      finishReason: reason,
      promptTokens,
      completionTokens,
      cachedTokens,
      timings,
    };
    listener.onOutcome?.(outcome, choice);
    resolve(outcome);
  };

  const abort = engine.submit(
    { promptTokens: ask.promptTokens, params: ask.params, adapters: ask.adapters },
    {
      onToken({ token, logprobs = null }) {
        if (stops.found) return;
        const now = clock.monotonic();
        if (lastTokenAt === null) metrics.firstToken(now - ask.arrivedAt);
        else metrics.nextToken(now - lastTokenAt);
        lastTokenAt = now;
        completionTokens++;
        if (logprobs !== null) positions.push({ token, logprobs });
        emit(token, stops.push(detokenizer.push(token)), logprobs);
        if (stops.found) abort();
      },
      onEnd,
    },
  );
  return { outcome: promise, abort };
}
