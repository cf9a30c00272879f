// What OpenAI's generation routes share: the head of an answer, its usage, and the chunks of a stream.

import { LorikeetError } from '../../core/errors.ts';
import { epochSeconds } from '../http/epoch-seconds.ts';
import type { EventStream } from '../http/event-stream.ts';
import type { Usage } from '../schemas/openai.ts';
import type { Services } from '../services.ts';
import type { EventWriter } from './answer.ts';
import type { Outcome, Piece } from './generation.ts';

type StreamFields = { stream?: boolean; stream_options?: { include_usage?: boolean | 'true' | 'false' } };

/** Members that every chunk of a stream repeats. */
export type Head<O extends string> = {
  id: string;
  object: O;
  created: number;
  model: string;
  /** Names the base model's weights; the digests of adapters are in a header. */
  system_fingerprint: string;
};

/**
 * Makes an answer's head.
 * @param model the caller's own name of the model, which OpenAI and vLLM give back
 */
export function headOf<O extends string>(
  services: Services,
  prefix: string,
  object: O,
  model = services.model.name,
): Head<O> {
  const created = epochSeconds(services.clock.now());
  const system_fingerprint = `fp_${services.model.digest.replace('sha256:', '').slice(0, 10)}`;
  return { id: `${prefix}-${services.newId()}`, object, created, model, system_fingerprint };
}

export function checkStreamOptions({ stream, stream_options }: StreamFields): void {
  if (stream || stream_options === undefined) return;
  const message = 'stream_options needs stream.';
  throw new LorikeetError('invalid_parameter', { message, param: 'stream_options' });
}

export const includesUsage = ({ stream_options }: StreamFields) =>
  stream_options?.include_usage === true || stream_options?.include_usage === 'true';

/** Token counts of an answer. A prompt counts once, however many choices it has. */
export function usageOf(outcomes: readonly Outcome[], prompts: number): Usage {
  const choices = outcomes.length / prompts;
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const firstChoices = outcomes.filter((_, i) => i % choices === 0);
  const promptTokens = sum(firstChoices.map((outcome) => outcome.promptTokens));
  const completionTokens = sum(outcomes.map((outcome) => outcome.completionTokens));
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: sum(firstChoices.map((outcome) => outcome.cachedTokens)) },
  };
}

/** How a route writes a choice's members as JSON, without `index` and `finish_reason`. */
export type ChunkShape = {
  /** Members of a chunk before a choice's first text; null: there is no such chunk. */
  readonly first: string | null;
  piece(piece: Piece, choice: number): string;
  /** Members of each chunk that a piece makes certain, for routes that parse the text; null is the choice's end. */
  read?(piece: Piece | null, choice: number): string[];
  /** Replaces the engine's finish reason; left out: it is kept. */
  finishReason?(reason: Outcome['finishReason'], choice: number): string;
  /** Members of the chunk that carries the finish reason. */
  readonly last: string;
};

export function chunkWriter(
  stream: EventStream,
  head: Head<string>,
  shape: ChunkShape,
  includeUsage: boolean,
  prompts: number,
): EventWriter {
  // All but the choice is constant, and serialised once: this runs for every token of every stream.
  const start = `${JSON.stringify(head).slice(0, -1)},"choices":`;
  const end = includeUsage ? ',"usage":null}' : '}';
  const begun = new Set<number>();
  const write = (choice: number, members: string, finishReason: string) =>
    stream.send(`${start}[{"index":${choice},${members},"finish_reason":${finishReason}}]${end}`);
  const begin = (choice: number) => {
    if (shape.first === null || begun.has(choice)) return;
    begun.add(choice);
    write(choice, shape.first, 'null');
  };
  return {
    onPiece(piece, choice) {
      begin(choice);
      if (shape.read) {
        for (const members of shape.read(piece, choice)) write(choice, members, 'null');
        return;
      }
      // The text is held back: it is a part of a character, or may become a stop string.
      if (piece.text === '' && piece.logprobs === null) return;
      write(choice, shape.piece(piece, choice), 'null');
    },
    onOutcome({ finishReason }, choice) {
      begin(choice);
      for (const members of shape.read?.(null, choice) ?? []) write(choice, members, 'null');
      write(choice, shape.last, `"${shape.finishReason?.(finishReason, choice) ?? finishReason}"`);
    },
    end(outcomes) {
      if (includeUsage) stream.send(`${start}[],"usage":${JSON.stringify(usageOf(outcomes, prompts))}}`);
    },
  };
}
