// Makes a chat's answer from the model's text, whole or as the chunks of a stream. Where the request has no tools and
// the model does not think, all text is content and this module is not used.

import type { Services } from '../../services.ts';
import type { Outcome, Piece } from '../generation.ts';
import { chatLogprobs } from '../logprobs.ts';
import type { ChunkShape } from '../openai.ts';
import type { ChatPlan } from './chat-plan.ts';
import {
  type OutputDelta,
  type OutputOptions,
  type OutputParser,
  outputParser,
  type ParsedOutput,
  parseOutput,
} from './output-parser.ts';

export type ChatOutput = ChatReader & {
  message(outcome: Outcome): { message: ChatMessage; finish_reason: Outcome['finishReason'] | 'tool_calls' };
  readonly chunks: Required<Pick<ChunkShape, 'read' | 'finishReason'>>;
};

/** Parses a chat's text, for interfaces of any shape. */
export type ChatReader = {
  parse(text: string): ParsedOutput;
  /** Takes a piece of text, null at the end, and gives what became certain with it. */
  read(text: string | null, choice: number): OutputDelta[];
};

/** A reader for which all text is content. */
export const plainReader: ChatReader = {
  parse: (text) => ({ content: text, reasoning: '', calls: [] }),
  read: (text) => (text === null || text === '' ? [] : [{ content: text }]),
};

type ChatMessage = {
  role: 'assistant';
  content: string | null;
  refusal: null;
  reasoning_content?: string;
  tool_calls?: ParsedOutput['calls'];
};

/** Makes the output of a chat; null where all text is content. */
export function chatOutput(services: Services, plan: ChatPlan, promptTokens: readonly number[]): ChatOutput | null {
  const { form, tools, canThink, callReason } = plan;
  if (form === null && !canThink) return null;
  const options: OutputOptions = {
    form,
    names: new Set(tools.map((tool) => tool.function.name)),
    thinking: !canThink ? 'none' : endsThinking(services, promptTokens) ? 'open' : 'marked',
    // Mistral's templates take ids of nine letters and digits only.
    newId: () => {
      const id = services.newId().replace(/[^A-Za-z0-9]/g, '');
      return form?.name === 'mistral' ? id.slice(-9).padStart(9, '0') : `call_${id}`;
    },
  };
  const reasonOf = (reason: Outcome['finishReason'], calls: number): Outcome['finishReason'] | 'tool_calls' =>
    reason === 'stop' && calls > 0 ? callReason : reason;
  const streams = new Map<number, { parser: OutputParser; calls: number }>();
  const streamOf = (choice: number) => {
    const stream = streams.get(choice) ?? { parser: outputParser(options), calls: 0 };
    streams.set(choice, stream);
    return stream;
  };
  const parse = (text: string) => parseOutput(options, text);
  const read: ChatReader['read'] = (text, choice) => {
    const stream = streamOf(choice);
    const deltas = text === null ? stream.parser.finish() : stream.parser.push(text);
    for (const delta of deltas) if ('call' in delta) stream.calls = Math.max(stream.calls, delta.call.index + 1);
    return deltas;
  };
  return {
    ...{ parse, read },
    message({ text, finishReason }) {
      const { content, reasoning, calls } = parse(text);
      const message: ChatMessage = {
        ...{ role: 'assistant', refusal: null },
        content: content === '' && calls.length > 0 ? null : content,
        ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      };
      return { message, finish_reason: reasonOf(finishReason, calls.length) };
    },
    chunks: {
      read: (piece, choice) => membersOf(services, read(piece === null ? null : piece.text, choice), piece),
      finishReason: (reason, choice) => reasonOf(reason, streamOf(choice).calls),
    },
  };
}

/** Members of one chunk for each delta. Log-probabilities go with the first one, or with a chunk of their own. */
function membersOf({ tokenizer }: Services, deltas: readonly OutputDelta[], piece: Piece | null): string[] {
  const { token = null, logprobs = null } = piece ?? {};
  const shaped = token === null || logprobs === null ? null : chatLogprobs(tokenizer, [{ token, logprobs }]);
  const shown = deltas.map(deltaOf);
  if (shown.length === 0 && shaped !== null) shown.push({});
  return shown.map(
    (delta, i) => `"delta":${JSON.stringify(delta)},"logprobs":${JSON.stringify(i === 0 ? shaped : null)}`,
  );
}

function deltaOf(delta: OutputDelta): object {
  if ('content' in delta) return { content: delta.content };
  if ('reasoning' in delta) return { reasoning_content: delta.reasoning };
  return { tool_calls: [delta.call] };
}

/** Whether the template itself opened the thinking, which the output then continues. */
function endsThinking({ tokenizer }: Services, promptTokens: readonly number[]): boolean {
  return tokenizer.decode(promptTokens.slice(-8), { skipSpecial: false }).trimEnd().endsWith('<think>');
}
