// The base model's own Jinja template. It comes with the weights, never from a request.

import { Template } from '@huggingface/jinja';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { ChatMessage } from './tokenizer.ts';

export type RenderChat = (
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
  /** What a request gives the template beside its messages. */
  asked?: Readonly<Record<string, unknown>>,
) => string;

/** `variables`: the model's special tokens under the names that templates use (bos_token, eos_token, ...). */
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
    if (messages.length > limits.messages) {
      throw new LorikeetError('invalid_parameter', {
        message: `At most ${limits.messages} messages are allowed.`,
        param: 'messages',
      });
    }
    try {
      return template.render({ ...asked, ...variables, messages, add_generation_prompt: addGenerationPrompt });
    } catch (cause) {
      const message = `The chat template refused these messages: ${textOf(cause)}`;
      throw new LorikeetError('chat_template_failed', { message, param: 'messages', cause });
    }
  };
}

/** What follows the last answer before the next turn: where it starts with a control token, that token ends a turn. */
export function afterLastAnswer(render: RenderChat): string {
  const answer = '\ue000';
  try {
    const text = render(
      [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: answer },
      ],
      false,
    );
    return text.includes(answer) ? text.slice(text.lastIndexOf(answer) + answer.length).trimStart() : '';
  } catch {
    // A template that wants more than two plain messages tells nothing here; the model's own end tokens remain.
    return '';
  }
}

function textOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
