// Turns the chunks of a run into parts of a batch, as the decoder takes them.

import type { KvCache } from '../kv/kv-cache.ts';
import type { BatchPart } from '../runner/forward-batch.ts';
import type { Chunk } from './scheduler.ts';
import { prefillLeft, readsWholePrompt } from './sequence.ts';
import { rowsOfVirtual } from './virtual-tokens.ts';

/**
 * The chunk, and the guessed tokens behind it. Results are wanted for the last token and every guess, or for the whole
 * prompt where the request needs that. Writes virtual tokens that are keys and values to the KV cache.
 */
export function partOf({ sequence, count }: Chunk, kv: KvCache, draft: readonly number[] = []): BatchPart {
  const { computed, kvRow, adapter, virtual } = sequence;
  const end = computed + count;
  const to = end + draft.length;
  const rows = rowsOfVirtual(virtual);
  const isWritten = rows?.kind === 'keys and values' && computed < rows.count;
  const past = isWritten ? Math.min(rows.count, end) : computed;
  if (isWritten) kv.write!(kvRow!, computed, past, rows.values);
  const tokens = draft.length > 0 ? [...sequence.tokens, ...draft] : sequence.tokens;
  const kind = prefillLeft(sequence) > 0 ? 'prompt' : 'answer';
  const isLast = end === sequence.tokens.length;
  const first =
    kind === 'prompt' && readsWholePrompt(sequence) ? Math.max(past, virtual?.count ?? 0) : isLast ? end - 1 : end;
  const sampled = Array.from({ length: Math.max(0, to - first) }, (_, i) => first + i);
  const given = rows?.kind === 'embeddings' && past < rows.count ? { given: rows } : {};
  const whole = kind === 'prompt' && sequence.promptLogprobs !== null ? { whole: true } : {};
  return { row: kvRow!, past, to, tokens, kind, sampled, adapter, ...given, ...whole };
}

/** Leaves out chunks that consist of written keys and values alone: there is nothing to compute. */
export const withTokens = (parts: readonly BatchPart[]): BatchPart[] => parts.filter(({ past, to }) => past < to);
