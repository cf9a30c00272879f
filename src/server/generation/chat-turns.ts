// Turns the messages of a body into turns for the chat template.

import { LorikeetError } from '../../core/errors.ts';
import { assertPlainJson, type JsonBounds } from '../../core/plain-json.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import type { Message } from '../schemas/prompt.ts';
import type { ToolCall } from '../schemas/tools.ts';

export const chatTurns = (messages: readonly Message[], bounds: JsonBounds): ChatMessage[] =>
  messages.map((message, index) => chatTurn(message, index, bounds));

function chatTurn(message: Message, index: number, bounds: JsonBounds): ChatMessage {
  const { role, content, name, tool_calls: calls, tool_call_id: callId, reasoning_content: reasoning } = message;
  const hasCalls = calls !== undefined && calls !== null && calls.length > 0;
  if ((content ?? null) === null && !hasCalls && role !== 'assistant') {
    const param = `messages[${index}].content`;
    throw new LorikeetError('missing_parameter', { message: `${param} is required.`, param });
  }
  return {
    // `developer` is OpenAI's newer name of the same role; templates know the older one.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('\n'),
    ...optional({ name, tool_call_id: callId, reasoning_content: reasoning }),
    ...(hasCalls
      ? { tool_calls: calls.map((call, i) => chatCall(call, `messages[${index}].tool_calls[${i}]`, bounds)) }
      : {}),
  };
}

/** Parses a call's arguments, since templates write them as JSON themselves. */
function chatCall({ id, type, function: { name, arguments: text } }: ToolCall, place: string, bounds: JsonBounds) {
  try {
    assertPlainJson(text, bounds);
    return { id, type, function: { name, arguments: JSON.parse(text === '' ? '{}' : text) as unknown } };
  } catch (error) {
    const param = `${place}.function.arguments`;
    const why = error instanceof LorikeetError ? ` ${error.message}` : '';
    throw new LorikeetError('invalid_parameter', { message: `${param} is not JSON.${why}`, param });
  }
}

/** Drops fields that are null or undefined. */
function optional(fields: Readonly<Record<string, string | null | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] != null));
}
