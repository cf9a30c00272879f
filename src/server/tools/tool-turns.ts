// Turns with calls and results of tools, and the tools themselves, for the model's chat template: as the template reads
// them, or as plain text in Hermes' words where it knows no tools.

import { LorikeetError } from '../../core/errors.ts';
import type { ChatMessage } from '../../tokenizer/tokenizer.ts';
import type { Message } from '../schemas/prompt.ts';
import type { Tool, ToolCall } from '../schemas/tools.ts';
import { knowsTools } from './call-forms.ts';

export type Turns = { readonly messages: readonly ChatMessage[]; readonly variables: Record<string, unknown> };

export function turnsFor(template: string | null, messages: readonly Message[], tools: readonly Tool[]): Turns {
  const turns = messages.map(toTurn);
  const isPlain = turns.every(({ role, tool_calls }) => role !== 'tool' && tool_calls === undefined);
  if (tools.length === 0 && isPlain) return { messages: turns, variables: {} };
  if (knowsTools(template)) return { messages: turns, variables: tools.length > 0 ? { tools } : {} };
  const plain = turns.map(inPlainWords);
  if (tools.length === 0) return { messages: plain, variables: {} };
  const [first, ...others] = plain;
  const system = first?.role === 'system' ? `${first.content}\n\n${describe(tools)}` : describe(tools);
  const rest = first?.role === 'system' ? others : plain;
  return { messages: [{ role: 'system', content: system }, ...rest], variables: {} };
}

function toTurn(message: Message, index: number): ChatMessage {
  const { role, content, name, tool_calls: calls, tool_call_id: callId, reasoning_content: reasoning } = message;
  const hasCalls = calls !== undefined && calls !== null && calls.length > 0;
  if ((content ?? null) === null && !hasCalls && role !== 'assistant') {
    const param = `messages[${index}].content`;
    throw new LorikeetError('missing_parameter', { message: `${param} is required.`, param });
  }
  return {
    // OpenAI's newer word for the same turn; templates know the older one.
    role: role === 'developer' ? 'system' : role,
    content: typeof content === 'string' ? content : (content ?? []).map((part) => part.text).join('\n'),
    ...((name ?? null) === null ? {} : { name: name! }),
    ...(hasCalls ? { tool_calls: calls.map((call, i) => toCall(call, `messages[${index}].tool_calls[${i}]`)) } : {}),
    ...((callId ?? null) === null ? {} : { tool_call_id: callId! }),
    ...((reasoning ?? null) === null ? {} : { reasoning_content: reasoning! }),
  };
}

/** Templates write arguments as JSON themselves. */
function toCall({ id, type, function: { name, arguments: text } }: ToolCall, place: string) {
  try {
    return { id, type, function: { name, arguments: JSON.parse(text === '' ? '{}' : text) as unknown } };
  } catch {
    const param = `${place}.function.arguments`;
    throw new LorikeetError('invalid_parameter', { message: `${param} is not JSON.`, param });
  }
}

function inPlainWords({ role, content, tool_calls: calls, name }: ChatMessage): ChatMessage {
  if (role === 'tool') return { role: 'user', content: `<tool_response>\n${content}\n</tool_response>` };
  const written = (calls ?? []).map(({ function: call }) => `<tool_call>\n${JSON.stringify(call)}\n</tool_call>`);
  const text = [content, ...written].filter((part) => part !== '').join('\n');
  return { role, content: text, ...(name === undefined ? {} : { name }) };
}

const describe = (tools: readonly Tool[]) =>
  `You may call functions to help with the user's question. Here are their signatures, as JSON:
<tools>
${tools.map((tool) => JSON.stringify(tool)).join('\n')}
</tools>

To call a function, write its name and its arguments as a JSON object between tags:
<tool_call>
{"name": "function name", "arguments": {"argument": "value"}}
</tool_call>`;
