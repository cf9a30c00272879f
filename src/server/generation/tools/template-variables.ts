// Variables that a caller gives a chat template. One that the template does not read would be ignored without a word.

import { LorikeetError } from '../../../core/errors.ts';
import type { ToolsBody } from '../../schemas/tools.ts';

/** What the server itself gives. */
const own = new Set(['messages', 'tools', 'add_generation_prompt', 'bos_token', 'eos_token', 'pad_token', 'unk_token']);

export function templateVariables(
  { chat_template_kwargs: kwargs = {}, reasoning_effort: effort }: ToolsBody,
  template: string | null,
): Record<string, unknown> {
  const reads = (name: string) => template !== null && new RegExp(`\\b${RegExp.escape(name)}\\b`).test(template);
  const variables: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(kwargs)) {
    const param = `chat_template_kwargs.${name}`;
    if (own.has(name)) throw unsupported(param, `${param} is the server's own.`);
    if (reads(name)) variables[name] = value;
    // A switch that is off asks for nothing of a template that has none.
    else if (value !== false && value !== null) {
      throw unsupported(param, `${param}: this model's chat template has no variable ${name}.`);
    }
  }
  if (effort === undefined) return variables;
  if (reads('reasoning_effort')) return { ...variables, reasoning_effort: effort };
  const isOff = effort === 'none' || effort === 'minimal';
  if (reads('enable_thinking')) return { enable_thinking: !isOff, ...variables };
  if (isOff) return variables;
  throw unsupported('reasoning_effort', "reasoning_effort: this model's chat template knows no thinking.");
}

const unsupported = (param: string, message: string) => new LorikeetError('unsupported_parameter', { message, param });
