// Ollama's API: reads a body as one sequence to generate, and writes text and end in Ollama's fields.

import type { OllamaBody, OllamaTurn } from '../../schemas/ollama.ts';
import type { Message } from '../../schemas/prompt.ts';
import type { ToolsBody } from '../../schemas/tools.ts';
import type { Services } from '../../services.ts';
import type { Outcome } from '../generation.ts';
import { encodePrompt } from '../prompt.ts';
import { stopsOf, toSamplingParams } from '../sampling.ts';
import { type Asked, compiledGrammar, structureAt } from '../structured-output.ts';
import { argumentsOf } from '../tools/call-arguments.ts';
import { plainReader } from '../tools/chat-output.ts';
import type { ParsedOutput } from '../tools/output-parser.ts';
import { type Asking, type ChatAsk, chatAsk, given, type PreparedChat } from './chat-ask.ts';

export async function ollamaAsk(services: Services, body: OllamaBody, asking: Asking): Promise<PreparedChat> {
  const { num_predict = -1, repeat_penalty: repetition_penalty, num_ctx: _, ...options } = body.options ?? {};
  const sampling = given({ ...options, repetition_penalty });
  const maxTokens = num_predict > 0 ? num_predict : null;
  const shared = { sampling, maxTokens, maxTokensParam: 'options.num_predict', asked: askedOf(body) };
  const chat = (conversation: Pick<ChatAsk, 'messages' | 'tools'>) =>
    chatAsk(services, { ...shared, ...conversation }, asking);
  if ('messages' in body) {
    return chat({ messages: body.messages.map(turnOf), tools: given({ tools: body.tools, ...thinkingOf(body) }) });
  }
  const { prompt, system, raw } = body;
  const first: Message[] = system === undefined ? [] : [{ role: 'system', content: system }];
  if (!raw) return chat({ messages: [...first, { role: 'user', content: prompt }], tools: thinkingOf(body) });
  const grammar = await compiledGrammar(services, shared.asked, sampling);
  const promptTokens = encodePrompt(services, prompt, 'prompt');
  const route = { maxTokens, maxTokensDefault: Number.POSITIVE_INFINITY, maxTokensParam: shared.maxTokensParam };
  const params = toSamplingParams(services, sampling, { ...route, logprobs: null }, promptTokens.length);
  const { arrivedAt } = asking;
  return { asks: [{ promptTokens, params, stop: stopsOf(sampling), arrivedAt, grammar }], reader: plainReader };
}

function askedOf({ format }: OllamaBody): Asked | null {
  if (format === undefined || format === '') return null;
  return structureAt('format', { structured_outputs: format === 'json' ? { json_object: true } : { json: format } });
}

const thinkingOf = ({ think }: OllamaBody): ToolsBody =>
  think === undefined ? {} : { reasoning_effort: think === false ? 'none' : think === true ? 'medium' : think };

/**
 * A message of Ollama's as a turn. Its calls have no ids, so they get some, and their arguments are values and not
 * text.
 */
function turnOf(
  { role, content = '', thinking, tool_name: name, tool_calls: calls }: OllamaTurn,
  turn: number,
): Message {
  return given({
    ...{ role, content, name, reasoning_content: thinking },
    tool_calls: calls?.map(({ function: { name, arguments: values } }, i) => ({
      id: `call_${turn}_${i}`,
      type: 'function' as const,
      function: { name, arguments: JSON.stringify(values) },
    })),
  }) as Message;
}

/** An answer's message. A call is sent when it is whole. */
export function ollamaMessage({ content, reasoning, calls }: ParsedOutput) {
  const tool_calls = calls.map(({ function: { name, arguments: text } }) => ({
    function: { name, arguments: argumentsOf(text) },
  }));
  return {
    ...{ role: 'assistant', content },
    ...(reasoning === '' ? {} : { thinking: reasoning }),
    ...(tool_calls.length > 0 ? { tool_calls } : {}),
  };
}

/** Fields of the last answer of a stream; durations are nanoseconds. */
export function ollamaEnd({ finishReason, promptTokens, completionTokens, timings }: Outcome) {
  const nanoseconds = (ms: number) => Math.round(ms * 1e6);
  const { queueMs, prefillMs, decodeMs } = timings;
  return {
    done: true,
    done_reason: finishReason === 'length' ? 'length' : 'stop',
    total_duration: nanoseconds(queueMs + prefillMs + decodeMs),
    load_duration: nanoseconds(queueMs),
    prompt_eval_count: promptTokens,
    prompt_eval_duration: nanoseconds(prefillMs),
    eval_count: completionTokens,
    eval_duration: nanoseconds(decodeMs),
  };
}
