// The one path from token ids to text: submits sequences to the engine, detokenises, finds stop strings, and gives
// pieces and outcomes. It knows no HTTP and no wire format, which are the routes'.

import { mergeKey, withPairs } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { Grammar } from '../../core/grammar.ts';
import type { Pooling } from '../../core/pooling.ts';
import type { SamplingParams } from '../../core/sampling-params.ts';
import type { Share } from '../../core/share.ts';
import type { SequenceEnd, SequenceRequest, Timings, TokenLogprobs, WeightBits } from '../../protocol/messages.ts';
import type { Caller } from '../../tenants/ceilings.ts';
import { type HeldAdapters, paramOf } from '../adapters/held-adapters.ts';
import type { Services } from '../services.ts';
import { type Stops, stopStrings } from './stop-strings.ts';
import { type EndedSequence, usedBy } from './used.ts';

/** One sequence to generate. */
export type Ask = {
  readonly promptTokens: readonly number[];
  readonly params: SamplingParams;
  readonly stop: Stops;
  /** The form of the output; null or left out: any. */
  readonly grammar?: Grammar | null;
  /** Number of alternatives to report for each of the prompt's tokens; left out: the prompt is not reported. */
  readonly promptLogprobs?: number;
  /** How the prompt becomes one vector, in which case nothing is generated; left out: tokens are generated. */
  readonly pooling?: Pooling;
  /** When the request arrived, in the clock's monotonic milliseconds. */
  readonly arrivedAt: number;
  /** false: the base's weights are used even where the adapters are merged; true if left out. */
  readonly usesMerge?: boolean;
};

/** Text that became certain with one token. `token` is null for text that became certain only at the sequence's end. */
export type Piece = {
  readonly token: number | null;
  readonly text: string;
  readonly logprobs: TokenLogprobs | null;
};

/** A generated token, kept where log-probabilities were asked for. */
export type Position = { readonly token: number; readonly logprobs: TokenLogprobs };

export type Outcome = {
  readonly text: string;
  readonly positions: readonly Position[];
  /** Why the sequence ended; `abort` is seen only by a caller that has left. */
  readonly finishReason: 'stop' | 'length' | 'abort';
  /** Whether a stop string ended the text, and not a token of the model. */
  readonly byStopString: boolean;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Log-probabilities of each prompt token, null for the first; null where they were not asked for. */
  readonly promptLogprobs: readonly (TokenLogprobs | null)[] | null;
  /** The prompt as a vector of length 1; null where it was not asked for. */
  readonly embedding: Float32Array | null;
  readonly cachedTokens: number;
  /** Bits of the merged weights that the sequence ran on; null: it ran on the base's weights. */
  readonly mergedBits: WeightBits | null;
  readonly timings: Timings;
};

/** A request's sequences, and the adapters that apply to all of them. */
export type Work = {
  readonly asks: readonly Ask[];
  readonly held: HeldAdapters;
  readonly caller: Caller;
  /** Time from the request's arrival after which nobody waits for the answer, in milliseconds; left out: no limit. */
  readonly timeoutMs?: number;
  /** Restricts the prefix cache: its entries are shared only with requests of the same salt. */
  readonly cacheSalt?: string;
};

/** Receives pieces and outcomes. `choice` is the sequence's index in `asks`. */
export type GenerationListener = {
  onPiece?(piece: Piece, choice: number): void;
  onOutcome?(outcome: Outcome, choice: number): void;
};

export type Generation = {
  /**
   * All outcomes in the order of `asks`, resolved after the usage is recorded. Rejects with the first error; the other
   * sequences are then aborted.
   */
  readonly outcomes: Promise<Outcome[]>;
  abort(): void;
};

/**
 * Starts all sequences of a request. Rejects with the refusal of a quota or of the engine; then none of them runs. This
 * function releases the adapters when the last sequence has ended. That may be after the answer, since an aborted
 * sequence ends a step later.
 */
export async function generate(services: Services, work: Work, listener: GenerationListener = {}): Promise<Generation> {
  const { asks, held, caller } = work;
  const sequences: Sequence[] = [];
  const ended: EndedSequence[] = [];
  const accounted = Promise.withResolvers<void>();
  const place = services.metrics.adaptersQueued({
    tenant: held.tenant,
    names: held.adapters.map(({ reference }) => reference),
  });
  let isStarted = false;
  let endOne = () => {};
  const endIfOver = () => {
    if (!isStarted || ended.length < sequences.length) return;
    place.ends();
    held.release();
    account(services, work, ended).then(accounted.resolve);
  };
  const abort = () => {
    for (const sequence of sequences) sequence.abort();
  };
  try {
    endOne = await beginAll(services, work);
    const onEnded = (end: EndedSequence) => {
      endOne();
      ended.push(end);
      endIfOver();
    };
    const share = services.service.shareOf(caller);
    for (const [choice, ask] of asks.entries()) {
      sequences.push(startSequence(services, { ask, work, share, choice, listener, onStart: place.runs, onEnded }));
    }
  } catch (error) {
    abort();
    // Ends the places of sequences that the quotas counted and that were never submitted.
    for (let i = sequences.length; i < asks.length; i++) endOne();
    throw error;
  } finally {
    isStarted = true;
    endIfOver();
  }
  const outcomes = Promise.all(sequences.map((sequence) => sequence.outcome)).then(async (all) => {
    await accounted.promise;
    return all;
  });
  outcomes.catch(abort);
  return { outcomes, abort };
}

/**
 * Counts the request against its quotas. Rejects with `rate_limit_exceeded`.
 * @returns a function that ends one sequence's place
 */
function beginAll({ service }: Services, { asks, caller }: Work): Promise<() => void> {
  const prompts = new Set(asks.map(({ promptTokens }) => promptTokens));
  const tokens = [...prompts].reduce((sum, { length }) => sum + length, 0);
  return service.rates.begin(caller, { tokens, sequences: asks.length });
}

/** Records what the sequences used. Never rejects. */
async function account(
  { service, metrics, clock }: Services,
  { caller, held }: Work,
  ended: readonly EndedSequence[],
): Promise<void> {
  const used = usedBy(ended);
  if (used === null) return;
  const names = held.adapters.map(({ adapter }) => adapter.name);
  metrics.used({ tenant: caller.tenant, names }, used, clock.monotonic());
  const adapter = held.applied.map(({ files }) => files.digest).join('+');
  await service.usage.record({ tenant: caller.tenant, adapter, ...used });
}

type Sequence = { readonly outcome: Promise<Outcome>; abort(): void };

type SequenceStart = {
  readonly ask: Ask;
  readonly work: Work;
  readonly share: Share;
  readonly choice: number;
  readonly listener: GenerationListener;
  onStart(): void;
  onEnded(end: EndedSequence): void;
};

function startSequence(services: Services, { ask, work, share, choice, listener, ...on }: SequenceStart): Sequence {
  const { engine, tokenizer, metrics, traffic, clock, service } = services;
  const { held, caller } = work;
  const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
  // Without this, the rejection of a sequence would be unhandled where a later one was refused and nobody waits.
  promise.catch(() => {});
  const detokenizer = tokenizer.detokenizer();
  const stops = stopStrings(ask.stop);
  const countToken = traffic.counterOf(held);
  const takeToken = service.rates.takerOf(caller);
  const positions: Position[] = [];
  let text = '';
  let completionTokens = 0;
  let lastTokenAt: number | null = null;
  let isStarted = false;

  const emit = (token: number | null, released: string, logprobs: TokenLogprobs | null) => {
    text += released;
    listener.onPiece?.({ token, text: released, logprobs }, choice);
  };

  const onEnd = (end: SequenceEnd) => {
    // A sequence that a stop string ended was aborted by this module: for the caller it is a stop, whatever the engine
    // says.
    const reason = stops.found ? 'stop' : end.reason;
    if (!stops.found) completionTokens = end.completionTokens;
    const { promptTokens: prompt } = ask;
    const code = end.error?.code ?? null;
    on.onEnded({ promptTokens: prompt, isStarted, reason, code, cachedTokens: end.cachedTokens, completionTokens });
    const { maxTokens } = ask.params;
    metrics.sequenceFinished({ ...end, reason, completionTokens, maxTokens, e2eMs: clock.monotonic() - ask.arrivedAt });
    if (reason === 'error') {
      reject(failure(services, end, held));
      return;
    }
    const tail = stops.push(detokenizer.flush()) + stops.flush();
    if (tail !== '') emit(null, tail, null);
    const { promptTokens, cachedTokens, mergedBits = null, promptLogprobs = null, embedding = null, timings } = end;
    const outcome: Outcome = {
      ...{ text, positions, finishReason: reason, byStopString: stops.found, completionTokens },
      ...{ promptTokens, promptLogprobs, embedding, cachedTokens, mergedBits, timings },
    };
    listener.onOutcome?.(outcome, choice);
    resolve(outcome);
  };

  const abort = engine.submit(requestOf(services, ask, work, share), {
    onStart() {
      isStarted = true;
      on.onStart();
    },
    onToken({ token, logprobs = null }) {
      if (stops.found) return;
      const now = clock.monotonic();
      if (lastTokenAt === null) metrics.firstToken(now - ask.arrivedAt);
      else metrics.nextToken(now - lastTokenAt);
      lastTokenAt = now;
      completionTokens++;
      countToken(now);
      takeToken(1);
      if (logprobs !== null) positions.push({ token, logprobs });
      const piece = detokenizer.push(token);
      // Text before the minimum of tokens is not searched for stop strings.
      emit(token, completionTokens < ask.params.minTokens ? piece : stops.push(piece), logprobs);
      if (stops.found) abort();
    },
    onEnd,
  });
  return { outcome: promise, abort };
}

/**
 * Adapters and merge of a sequence. Only a merge that the tenant itself asked for is used: rounding of a merge that
 * another tenant asked for must not reach this tenant's answers.
 */
const weightsOf = ({ merges }: Services, { tenant, applied: adapters }: HeldAdapters, usesMerge: boolean) => ({
  adapters,
  mergeKey:
    withPairs(adapters).length === 0 || !usesMerge ? null : merges.keyFor(tenant, mergeKey(withPairs(adapters))),
});

function requestOf(
  services: Services,
  { promptTokens, params, grammar, promptLogprobs, pooling, usesMerge = true, arrivedAt }: Ask,
  { held, timeoutMs, cacheSalt }: Work,
  share: Share,
): Omit<SequenceRequest, 'id'> {
  const request = {
    ...{ promptTokens, params, share, ...weightsOf(services, held, usesMerge) },
    ...(grammar ? { grammar } : {}),
    ...(promptLogprobs === undefined ? {} : { promptLogprobs }),
    ...(pooling === undefined ? {} : { pooling }),
    ...(cacheSalt === undefined ? {} : { cacheSalt }),
  };
  const now = services.clock.monotonic();
  return timeoutMs === undefined ? request : { ...request, timeoutMs: Math.max(0, arrivedAt + timeoutMs - now) };
}

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
