// The base model's own Jinja template, which comes with the weights, and a conversation for probing any template.

import { Template } from '@huggingface/jinja';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { ChatMessage } from './tokenizer.ts';

export type RenderChat = (
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
  /** Variables that the request passes to the template beside its messages. */
  asked?: Readonly<Record<string, unknown>>,
) => string;

/**
 * Parses a template. `variables`: the model's special tokens under the names that templates use (bos_token, eos_token,
 * ...).
 */
export function createChatTemplate(source: string, variables: Readonly<Record<string, string>>): RenderChat {
  let template: Template;
  try {
    template = new Template(source);
  } catch (cause) {
    throw new LorikeetError('model_file_invalid', {
      message: `The chat template does not parse: ${textOf(cause)}`,
      cause,
    });
  }
  return (messages, addGenerationPrompt, asked = {}) => {
    assertFew(messages);
    try {
      return template.render({ ...asked, ...variables, messages, add_generation_prompt: addGenerationPrompt });
    } catch (cause) {
      const message = `The chat template refused these messages: ${textOf(cause)}`;
      throw new LorikeetError('chat_template_failed', { message, param: 'messages', cause });
    }
  };
}

export function assertFew(messages: readonly ChatMessage[]): void {
  if (messages.length <= limits.messages) return;
  throw new LorikeetError('invalid_parameter', {
    message: `At most ${limits.messages} messages are allowed.`,
    param: 'messages',
  });
}

const answer = '\ue000';

/** A conversation that shows how a template ends an answer. */
export const probeTurns: readonly ChatMessage[] = [
  { role: 'user', content: 'a' },
  { role: 'assistant', content: answer },
];

/** Takes the text after the last answer. Where it starts with a control token, that token ends a turn. */
export const afterAnswer = (rendered: string): string =>
  rendered.includes(answer) ? rendered.slice(rendered.lastIndexOf(answer) + answer.length).trimStart() : '';

export function afterLastAnswer(render: RenderChat): string {
  try {
    return afterAnswer(render(probeTurns, false));
  } catch {
    // A template that needs more than two plain messages cannot be probed; the model's own end tokens remain.
    return '';
  }
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
