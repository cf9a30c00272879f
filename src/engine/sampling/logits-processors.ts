// Processors that change a row's logits before a token is chosen. Each sequence has its own, which see every token that
// the sequence takes. Order is vLLM's: bias, penalties, then masks, which nothing lifts again.

import type { SamplingParams } from '../../core/sampling-params.ts';

export type LogitsProcessor = {
  /** @param logits [vocabulary], changed in place */
  process(logits: Float32Array): void;
  /** Notes the token that the sequence took. */
  accept(token: number): void;
  /** Whether it will change nothing any more; left out, it never ends. */
  readonly isOver?: boolean;
};

/** The largest float32: penalties may not grow a logit into infinity. */
const floatMax = 3.4028234663852886e38;

/** @param prompt counts for the repetition penalty, as do the sampled tokens */
export function createLogitsProcessors(params: SamplingParams, prompt: readonly number[]): LogitsProcessor[] {
  const { logitBias, repetitionPenalty, frequencyPenalty, presencePenalty } = params;
  const { minTokens, stopTokens, allowedTokens } = params;
  const processors: LogitsProcessor[] = [];
  if (logitBias.length > 0) processors.push(bias(logitBias));
  if (repetitionPenalty !== 1) processors.push(repetition(repetitionPenalty, prompt));
  if (frequencyPenalty !== 0 || presencePenalty !== 0) processors.push(occurrence(frequencyPenalty, presencePenalty));
  if (allowedTokens !== null) processors.push(only(allowedTokens));
  if (minTokens > 0 && stopTokens.length > 0) processors.push(noEnd(minTokens, stopTokens));
  return processors;
}

function only(tokens: readonly number[]): LogitsProcessor {
  return {
    process(logits) {
      const kept = tokens.map((token) => logits[token]!);
      logits.fill(Number.NEGATIVE_INFINITY);
      for (const [i, token] of tokens.entries()) logits[token] = kept[i]!;
    },
    accept() {},
  };
}

function noEnd(minTokens: number, ends: readonly number[]): LogitsProcessor {
  let left = minTokens;
  return {
    process(logits) {
      if (left > 0) for (const token of ends) logits[token] = Number.NEGATIVE_INFINITY;
    },
    accept() {
      left--;
    },
    get isOver() {
      return left <= 0;
    },
  };
}

function bias(entries: SamplingParams['logitBias']): LogitsProcessor {
  return {
    process(logits) {
      for (const [token, value] of entries) logits[token]! += value;
    },
    accept() {},
  };
}

function repetition(penalty: number, prompt: readonly number[]): LogitsProcessor {
  const seen = new Set(prompt);
  return {
    process(logits) {
      for (const token of seen) {
        const logit = logits[token]!;
        const changed = logit > 0 ? logit / penalty : logit * penalty;
        logits[token] = Number.isFinite(logit) ? Math.max(-floatMax, Math.min(floatMax, changed)) : logit;
      }
    },
    accept: (token) => seen.add(token),
  };
}

function occurrence(frequency: number, presence: number): LogitsProcessor {
  const counts = new Map<number, number>();
  return {
    process(logits) {
      for (const [token, count] of counts) logits[token]! -= frequency * count + presence;
    },
    accept(token) {
      counts.set(token, (counts.get(token) ?? 0) + 1);
    },
  };
}
