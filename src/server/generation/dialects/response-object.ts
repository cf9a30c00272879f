// Writes OpenAI's response object: the request's fields and the items of the output.

import type { Tokenizer } from '../../../tokenizer/tokenizer.ts';
import type { ResponsesBody } from '../../schemas/responses.ts';
import type { Outcome, Position } from '../generation.ts';
import { chatLogprobs } from '../logprobs.ts';
import type { ParsedOutput } from '../tools/output-parser.ts';
import { usageIn } from './chat-ask.ts';

export type ResponseHead = {
  /** The response's id without its prefix; the items' ids contain it too. */
  readonly id: string;
  readonly createdAt: number;
  readonly model: string;
  readonly body: ResponsesBody;
  readonly tokenizer: Tokenizer;
};

export type Status = 'in_progress' | 'completed' | 'incomplete';

export const textPart = (text: string, logprobs: object[] = []) => ({
  ...{ type: 'output_text', text, annotations: [], logprobs },
});

/** Log-probabilities of a text part's tokens. */
export const partLogprobs = ({ tokenizer }: ResponseHead, positions: readonly Position[]): object[] =>
  chatLogprobs(tokenizer, positions).content;

export const reasoningItem = ({ id }: ResponseHead, text: string, status: Status) => ({
  ...{ id: `rs_${id}`, type: 'reasoning', summary: [], status },
  content: text === '' ? [] : [{ type: 'reasoning_text', text }],
});

export const messageItem = ({ id }: ResponseHead, status: Status, content: object[]) => ({
  ...{ id: `msg_${id}`, type: 'message', status, role: 'assistant', content },
});

export const callItem = (
  { id }: ResponseHead,
  index: number,
  call: { id: string; name: string; arguments: string },
  status: Status,
) => ({
  ...{ id: `fc_${index}_${id}`, type: 'function_call', status },
  ...{ call_id: call.id, name: call.name, arguments: call.arguments },
});

export function outputItems(head: ResponseHead, parsed: ParsedOutput, outcome: Outcome): object[] {
  const status = statusOf(outcome);
  const { reasoning, content, calls } = parsed;
  const part = textPart(content, partLogprobs(head, outcome.positions));
  return [
    ...(reasoning === '' ? [] : [reasoningItem(head, reasoning, status)]),
    ...(content === '' && calls.length > 0 ? [] : [messageItem(head, status, [part])]),
    ...calls.map(({ id, function: { name, arguments: text } }, i) =>
      callItem(head, i, { id, name, arguments: text }, status),
    ),
  ];
}

export const statusOf = ({ finishReason }: Outcome): Status => (finishReason === 'length' ? 'incomplete' : 'completed');

/**
 * The response as JSON.
 * @param ended null while it is in progress
 */
export function responseJson(head: ResponseHead, ended: { outcome: Outcome; output: object[] } | null) {
  const { id, createdAt, model, body } = head;
  const status: Status = ended === null ? 'in_progress' : statusOf(ended.outcome);
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: createdAt,
    status,
    background: false,
    error: null,
    incomplete_details: status === 'incomplete' ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model,
    output: ended?.output ?? [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: body.temperature ?? 1,
    text: { format: body.text?.format ?? { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: (body.tools ?? []).map((tool) => ({ parameters: null, strict: null, ...tool })),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: 'disabled',
    usage: ended === null ? null : usageJson(ended.outcome),
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
