// Anthropic's Messages API: reads a body as a chat, and writes an output as content blocks or as their events.

import type { EventStream } from '../../http/event-stream.ts';
import type { AnthropicBlock, CountBody, MessagesBody } from '../../schemas/anthropic.ts';
import type { Message } from '../../schemas/prompt.ts';
import type { ToolsBody } from '../../schemas/tools.ts';
import type { EventWriter } from '../answer.ts';
import type { Outcome } from '../generation.ts';
import { type Asked, structureAt } from '../structured-output.ts';
import { argumentsOf } from '../tools/call-arguments.ts';
import type { ChatReader } from '../tools/chat-output.ts';
import type { OutputDelta, ParsedOutput } from '../tools/output-parser.ts';
import { type ChatAsk, given } from './chat-ask.ts';

/** The conversation, its tools and the form of its answer, in the terms of chat completions. */
export const chatOfMessages = (body: CountBody): Pick<ChatAsk, 'messages' | 'tools' | 'asked'> => ({
  messages: turnsOf(body),
  tools: toolsOf(body),
  asked: askedOf(body),
});

function turnsOf({ system, messages }: CountBody): Message[] {
  const first: Message[] =
    system === undefined || system.length === 0 ? [] : [{ role: 'system', content: texts(system) }];
  return [...first, ...messages.flatMap(({ role, content }) => turnsOfContent(role, content))];
}

type Texts = string | readonly { readonly text: string }[];

const texts = (content: Texts) =>
  typeof content === 'string' ? content : content.map(({ text }) => ({ type: 'text' as const, text }));

/** Turns of one message. Tool results become turns of their own, before the user's text about them. */
function turnsOfContent(role: 'user' | 'assistant', content: string | readonly AnthropicBlock[]): Message[] {
  if (typeof content === 'string') return [{ role, content }];
  const results = content.flatMap((block): Message[] =>
    block.type === 'tool_result'
      ? [{ role: 'tool', tool_call_id: block.tool_use_id, content: texts(emptyIfNone(block.content)) }]
      : [],
  );
  const said = content.flatMap((block) => (block.type === 'text' ? [block] : []));
  const thought = content.flatMap((block) => (block.type === 'thinking' ? [block.thinking] : []));
  const calls = content.flatMap((block) =>
    block.type === 'tool_use'
      ? [{ id: block.id, type: 'function' as const, function: callOf(block.name, block.input) }]
      : [],
  );
  if (said.length + thought.length + calls.length === 0) return results.length > 0 ? results : [{ role, content: '' }];
  const turn = given({
    role,
    content: said.length > 0 ? texts(said) : undefined,
    tool_calls: calls.length > 0 ? calls : undefined,
    reasoning_content: thought.length > 0 ? thought.join('\n') : undefined,
  }) as Message;
  return [...results, turn];
}

/** An empty list of parts is no content. */
const emptyIfNone = (content: Texts = ''): Texts => (content.length === 0 ? '' : content);
const callOf = (name: string, input: object) => ({ name, arguments: JSON.stringify(input) });

function toolsOf({ tools, tool_choice: choice, thinking }: CountBody): ToolsBody {
  return given({
    tools: tools?.map(({ name, description, input_schema: parameters }) => ({
      type: 'function' as const,
      function: given({ name, description, parameters }) as { name: string },
    })),
    tool_choice: choice && choiceOf(choice),
    parallel_tool_calls: choice?.disable_parallel_tool_use ? false : undefined,
    reasoning_effort: thinking && (thinking.type === 'disabled' ? ('none' as const) : ('medium' as const)),
  });
}

function choiceOf({ type, name = '' }: NonNullable<CountBody['tool_choice']>): ToolsBody['tool_choice'] & {} {
  if (type === 'tool') return { type: 'function', function: { name } };
  return type === 'any' ? 'required' : type;
}

function askedOf({ output_config: { format } = {} }: CountBody): Asked | null {
  return format === undefined
    ? null
    : structureAt('output_config.format.schema', { structured_outputs: { json: format.schema } });
}

type Named = { readonly id: string; readonly body: MessagesBody; readonly inputTokens: number };

/**
 * The message as JSON.
 * @param ended null at the start of a stream
 */
export function anthropicMessage(
  { id, body, inputTokens }: Named,
  ended: { outcome: Outcome; parsed: ParsedOutput } | null,
) {
  return {
    id,
    type: 'message',
    role: 'assistant',
    model: body.model,
    content: ended === null ? [] : blocksOf(ended.parsed),
    ...(ended === null
      ? { stop_reason: null, stop_sequence: null }
      : ending(ended.outcome, body, ended.parsed.calls.length > 0)),
    usage: {
      input_tokens: inputTokens,
      output_tokens: ended?.outcome.completionTokens ?? 0,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: ended?.outcome.cachedTokens ?? 0,
    },
  };
}

function blocksOf({ content, reasoning, calls }: ParsedOutput): object[] {
  return [
    ...(reasoning === '' ? [] : [{ type: 'thinking', thinking: reasoning, signature: '' }]),
    ...(content === '' && calls.length > 0 ? [] : [{ type: 'text', text: content }]),
    ...calls.map(({ id, function: { name, arguments: text } }) => ({
      type: 'tool_use',
      id,
      name,
      input: argumentsOf(text),
    })),
  ];
}

function ending({ finishReason, byStopString }: Outcome, { stop_sequences: stops = [] }: MessagesBody, calls: boolean) {
  if (finishReason !== 'stop') return { stop_reason: 'max_tokens', stop_sequence: null };
  // With several stop sequences it is not known which one was found.
  if (byStopString) return { stop_reason: 'stop_sequence', stop_sequence: stops.length === 1 ? stops[0]! : null };
  return { stop_reason: calls ? 'tool_use' : 'end_turn', stop_sequence: null };
}

/** Writes a stream. A block starts, grows and stops before the next one starts. */
export function anthropicWriter(named: Named, reader: ChatReader, stream: EventStream): EventWriter {
  const send = (type: string, fields: object) => stream.send(JSON.stringify({ type, ...fields }), type);
  let isOpen = false;
  let calls = 0;
  let index = -1;
  let kind: 'text' | 'thinking' | number | null = null;
  const open = () => {
    if (isOpen) return;
    isOpen = true;
    send('message_start', { message: anthropicMessage(named, null) });
  };
  const close = () => {
    if (kind !== null) send('content_block_stop', { index });
    kind = null;
  };
  const begin = (wanted: NonNullable<typeof kind>, content_block: object) => {
    if (kind === wanted) return;
    close();
    kind = wanted;
    send('content_block_start', { index: ++index, content_block });
  };
  const grow = (delta: object) => send('content_block_delta', { index, delta });
  const take = (delta: OutputDelta) => {
    if ('content' in delta) {
      begin('text', { type: 'text', text: '' });
      grow({ type: 'text_delta', text: delta.content });
    } else if ('reasoning' in delta) {
      begin('thinking', { type: 'thinking', thinking: '', signature: '' });
      grow({ type: 'thinking_delta', thinking: delta.reasoning });
    } else {
      const { call } = delta;
      calls = Math.max(calls, call.index + 1);
      begin(call.index, { type: 'tool_use', id: call.id, name: call.function.name, input: {} });
      const { arguments: partial_json } = call.function;
      if (partial_json !== undefined) grow({ type: 'input_json_delta', partial_json });
    }
  };
  return {
    onPiece({ text }) {
      open();
      for (const delta of reader.read(text, 0)) take(delta);
    },
    onOutcome(outcome) {
      open();
      for (const delta of reader.read(null, 0)) take(delta);
      // An empty answer is a text block without characters.
      if (index < 0) begin('text', { type: 'text', text: '' });
      close();
      const usage = { output_tokens: outcome.completionTokens };
      send('message_delta', { delta: ending(outcome, named.body, calls > 0), usage });
      send('message_stop', {});
    },
  };
}
