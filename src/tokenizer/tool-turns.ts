// Prepares tools, their calls and their results in a conversation for a chat template: in the template's own form, or
// in Hermes' format as plain text where the template knows no tools.

import type { ChatMessage, ChatTool } from './tokenizer.ts';

export type ToolTurns = {
  readonly messages: readonly ChatMessage[];
  /** Variables for the template. */
  readonly variables: Readonly<Record<string, unknown>>;
};

export const knowsTools = (template: string | null): boolean => template !== null && /\btools\b/.test(template);

export function toolTurns(
  template: string | null,
  messages: readonly ChatMessage[],
  tools: readonly ChatTool[],
): ToolTurns {
  const isPlain = messages.every(({ role, tool_calls }) => role !== 'tool' && tool_calls === undefined);
  if (tools.length === 0 && isPlain) return { messages, variables: {} };
  if (knowsTools(template)) return { messages, variables: tools.length > 0 ? { tools } : {} };
  const plain = messages.map(inPlainWords);
  if (tools.length === 0) return { messages: plain, variables: {} };
  const [first, ...others] = plain;
  const hasSystem = first?.role === 'system';
  const content = hasSystem ? `${first.content}\n\n${describe(tools)}` : describe(tools);
  return { messages: [{ role: 'system', content }, ...(hasSystem ? others : plain)], variables: {} };
}

function inPlainWords({ role, content, tool_calls: calls = [], name }: ChatMessage): ChatMessage {
  if (role === 'tool') return { role: 'user', content: `<tool_response>\n${content}\n</tool_response>` };
  const written = calls.map(({ function: call }) => `<tool_call>\n${JSON.stringify(call)}\n</tool_call>`);
  const text = [content, ...written].filter((part) => part !== '').join('\n');
  return { role, content: text, ...(name === undefined ? {} : { name }) };
}

const describe = (tools: readonly ChatTool[]) =>
  `You may call functions to help with the user's question. Here are their signatures, as JSON:
<tools>
${tools.map((tool) => JSON.stringify(tool)).join('\n')}
</tools>

To call a function, write its name and its arguments as a JSON object between tags:
<tool_call>
{"name": "function name", "arguments": {"argument": "value"}}
</tool_call>`;
