// Streams one target's answer. Tokens come faster than frames, so a change is reported once a frame.

import type { ApiError } from '../../api/client.ts';
import { open } from '../../api/client.ts';
import { eventsOf } from '../../api/events.ts';
import type { GenerateAnswer, GenerateBody } from '../../api/types.ts';
import { asApiError } from '../../state/resource.ts';
import { elapsed } from '../../time.ts';

export type Piece = {
  readonly text: string;
  /** Natural logarithm of the token's probability; null for text that was held back. */
  readonly logprob: number | null;
  readonly top: readonly { readonly token: string; readonly logprob: number }[];
};

export type Answer = {
  readonly state: 'waiting' | 'streaming' | 'done' | 'stopped' | 'failed';
  readonly pieces: readonly Piece[];
  /** Time from the request to the first token, in milliseconds. */
  readonly firstMs: number | null;
  readonly totalMs: number | null;
  readonly whole: GenerateAnswer | null;
  readonly error: ApiError | null;
};

export const waiting: Answer = {
  state: 'waiting',
  pieces: [],
  firstMs: null,
  totalMs: null,
  whole: null,
  error: null,
};

type Event = { token: Omit<Piece, 'top'> & { top?: Piece['top'] } } | GenerateAnswer;

export async function runTarget(body: GenerateBody, signal: AbortSignal, onChange: (now: Answer) => void) {
  const began = elapsed();
  let answer = waiting;
  let frame = 0;
  const tell = (next: Partial<Answer>) => {
    answer = { ...answer, ...next };
    if (frame === 0) {
      frame = requestAnimationFrame(() => {
        frame = 0;
        onChange(answer);
      });
    }
  };
  try {
    const response = await open('/v1/generate', { method: 'POST', body, signal });
    for await (const event of eventsOf<Event>(response)) {
      if ('token' in event) {
        const { text, logprob, top = [] } = event.token;
        const firstMs = answer.firstMs ?? elapsed() - began;
        tell({ state: 'streaming', firstMs, pieces: [...answer.pieces, { text, logprob, top }] });
      } else tell({ whole: event });
    }
    tell({ state: 'done', totalMs: elapsed() - began });
  } catch (cause) {
    const error = signal.aborted ? null : asApiError(cause);
    tell({ state: error === null ? 'stopped' : 'failed', error, totalMs: elapsed() - began });
  }
}
