// OpenAI's Responses API: reads a body in the terms of chat completions.

import { LorikeetError } from '../../../core/errors.ts';
import { errorAnswer } from '../../http/error-answer.ts';
import { namedEvents } from '../../http/event-stream.ts';
import type { Message } from '../../schemas/prompt.ts';
import type { InputTokensBody, ResponseItem, ResponsesBody } from '../../schemas/responses.ts';
import type { ToolsBody } from '../../schemas/tools.ts';
import type { StreamDialect } from '../answer.ts';
import { type Asked, structureAt } from '../structured-output.ts';
import { type ChatAsk, given } from './chat-ask.ts';

export const responsesStream: StreamDialect = {
  format: namedEvents,
  errorBody: (error) => ({ ...errorAnswer(error).error, type: 'error', sequence_number: 0 }),
};

/**
 * Fields that are refused, each with the values that ask for nothing. Any other value needs what this server does not
 * do.
 */
const refused: Readonly<Record<string, (value: unknown) => boolean>> = {
  previous_response_id: () => false,
  conversation: () => false,
  background: (value) => value === false,
  prompt: () => false,
  max_tool_calls: () => false,
};

export function refuseUnserved(body: InputTokensBody): void {
  for (const [name, asksForNothing] of Object.entries(refused)) {
    const value = (body as Record<string, unknown>)[name];
    if (value === undefined || asksForNothing(value)) continue;
    const message = `${name} is not supported by this server.`;
    throw new LorikeetError('unsupported_parameter', { message, param: name });
  }
}

/** The conversation, its tools and the form of its answer, in the terms of chat completions. */
export function chatOf(body: InputTokensBody): Pick<ChatAsk, 'messages' | 'tools' | 'asked'> {
  return { messages: messagesOf(body), tools: toolsOf(body), asked: askedOf(body) };
}

export function messagesOf({ input, instructions }: InputTokensBody): Message[] {
  const messages: Message[] = instructions === undefined ? [] : [{ role: 'system', content: instructions }];
  if (typeof input === 'string') return [...messages, { role: 'user', content: input }];
  for (const item of input) add(messages, item);
  return messages;
}

/** Adds an item. Reasoning, text and calls that follow each other become one turn. */
function add(messages: Message[], item: ResponseItem): void {
  if ('role' in item) {
    const { role, content } = item;
    const text =
      typeof content === 'string' ? content : content.map((part) => ({ type: 'text' as const, text: part.text }));
    const last = messages.at(-1);
    if (role === 'assistant' && last?.role === 'assistant' && last.content === undefined && !last.tool_calls) {
      messages[messages.length - 1] = { ...last, content: text };
    } else messages.push({ role, content: text });
    return;
  }
  if (item.type === 'function_call_output') {
    const { output, call_id: tool_call_id } = item;
    const content = typeof output === 'string' ? output : output.map(({ text }) => text).join('\n');
    messages.push({ role: 'tool', tool_call_id, content });
    return;
  }
  if (item.type === 'reasoning') {
    const reasoning_content = (item.content ?? []).map(({ text }) => text).join('\n');
    if (reasoning_content !== '') messages.push({ role: 'assistant', reasoning_content });
    return;
  }
  const { call_id: id, name, arguments: text } = item;
  const call = { id, type: 'function' as const, function: { name, arguments: text } };
  const last = messages.at(-1);
  if (last?.role !== 'assistant') messages.push({ role: 'assistant', tool_calls: [call] });
  else messages[messages.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), call] };
}

function toolsOf({ tools, tool_choice: choice, parallel_tool_calls, reasoning }: InputTokensBody): ToolsBody {
  return given({
    tools: tools?.map(({ type, ...description }) => ({ type, function: description })),
    tool_choice: typeof choice === 'object' ? ({ type: 'function', function: { name: choice.name } } as const) : choice,
    parallel_tool_calls,
    reasoning_effort: reasoning?.effort,
  });
}

function askedOf({ text: { format } = {} }: InputTokensBody): Asked | null {
  if (format === undefined || format.type === 'text') return null;
  if (format.type === 'json_object') return structureAt('text.format', { response_format: { type: 'json_object' } });
  if ((format.schema ?? null) === null) {
    const param = 'text.format.schema';
    throw new LorikeetError('missing_parameter', { message: `${param} is required.`, param });
  }
  return structureAt('text.format.schema', { structured_outputs: { json: format.schema! } });
}

/** Alternatives to report at each token; null where log-probabilities are not asked for. */
export function logprobsOf({ include = [], top_logprobs: top = 0 }: ResponsesBody): number | null {
  if (include.includes('message.output_text.logprobs')) return top;
  if (top === 0) return null;
  const message = 'top_logprobs needs include: ["message.output_text.logprobs"].';
  throw new LorikeetError('invalid_parameter', { message, param: 'top_logprobs' });
}
