// OpenAI's responses: a body to messages, an outcome to the response object, pieces to its events.

import { LorikeetError } from '../../../core/errors.ts';
import { errorAnswer } from '../../http/error-answer.ts';
import { type EventStream, namedEvents } from '../../http/event-stream.ts';
import type { Message } from '../../schemas/prompt.ts';
import type { ResponsesBody } from '../../schemas/responses.ts';
import type { EventWriter, StreamDialect } from '../answer.ts';
import type { Outcome } from '../generation.ts';
import { usageIn } from './chat-ask.ts';

export const responsesStream: StreamDialect = {
  format: namedEvents,
  errorBody: (error) => ({ ...errorAnswer(error).error, type: 'error', sequence_number: 0 }),
};

/** Each with the values that ask for nothing. Anything else of them would need what this server does not keep or do. */
const refused: Readonly<Record<string, (value: unknown) => boolean>> = {
  previous_response_id: () => false,
  conversation: () => false,
  background: (value) => value === false,
  tools: (value) => Array.isArray(value) && value.length === 0,
  tool_choice: (value) => value === 'none' || value === 'auto',
  reasoning: (value) => typeof value === 'object' && Object.keys(value ?? {}).length === 0,
  include: (value) => Array.isArray(value) && value.length === 0,
  prompt: () => false,
  max_tool_calls: () => false,
  top_logprobs: (value) => value === 0,
};

export function refuseUnserved(body: object): void {
  for (const [name, asksForNothing] of Object.entries(refused)) {
    const value = (body as Record<string, unknown>)[name];
    if (value === undefined || asksForNothing(value)) continue;
    const message = `${name} is not supported by this server.`;
    throw new LorikeetError('unsupported_parameter', { message, param: name });
  }
}

export function messagesOf({ input, instructions }: ResponsesBody): Message[] {
  const system: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  if (typeof input === 'string') return [...system, { role: 'user', content: input }];
  const turns = input.map(({ role, content }): Message => {
    if (typeof content === 'string') return { role, content };
    return { role, content: content.map(({ text }) => ({ type: 'text', text })) };
  });
  return [...system, ...turns];
}

export type ResponseHead = {
  readonly id: string;
  readonly itemId: string;
  readonly createdAt: number;
  readonly model: string;
  readonly body: ResponsesBody;
};

const part = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] });
const item = (id: string, status: string, content: object[]) => ({
  ...{ id, type: 'message', status, role: 'assistant', content },
});

/** @param outcome null while it is in progress */
export function responseJson({ id, itemId, createdAt, model, body }: ResponseHead, outcome: Outcome | null) {
  const isCut = outcome?.finishReason === 'length';
  const status = outcome === null ? 'in_progress' : isCut ? 'incomplete' : 'completed';
  return {
    id,
    object: 'response',
    created_at: createdAt,
    status,
    background: false,
    error: null,
    incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model,
    output: outcome === null ? [] : [item(itemId, status, [part(outcome.text)])],
    parallel_tool_calls: true,
    previous_response_id: null,
    reasoning: { effort: null, summary: null },
    store: false,
    temperature: body.temperature ?? 1,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: [],
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    usage: outcome === null ? null : usageJson(outcome),
    user: null,
    metadata: body.metadata ?? {},
  };
}

function usageJson(outcome: Outcome) {
  const { input, output, cached } = usageIn(outcome);
  return {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: input + output,
  };
}

export function responseWriter(head: ResponseHead, stream: EventStream): EventWriter {
  const { itemId } = head;
  const place = { item_id: itemId, output_index: 0, content_index: 0 };
  let sequence_number = 0;
  let isOpen = false;
  const send = (type: string, fields: object) =>
    stream.send(JSON.stringify({ type, sequence_number: sequence_number++, ...fields }), type);
  const open = () => {
    if (isOpen) return;
    isOpen = true;
    const response = responseJson(head, null);
    send('response.created', { response });
    send('response.in_progress', { response });
    send('response.output_item.added', { output_index: 0, item: item(itemId, 'in_progress', []) });
    send('response.content_part.added', { ...place, part: part('') });
  };
  return {
    onPiece({ text }) {
      open();
      if (text !== '') send('response.output_text.delta', { ...place, delta: text, logprobs: [] });
    },
    onOutcome(outcome) {
      open();
      const response = responseJson(head, outcome);
      send('response.output_text.done', { ...place, text: outcome.text, logprobs: [] });
      send('response.content_part.done', { ...place, part: part(outcome.text) });
      send('response.output_item.done', { output_index: 0, item: response.output[0] });
      send(`response.${response.status}`, { response });
    },
  };
}
