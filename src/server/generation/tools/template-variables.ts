// Reads the variables that a caller sets for the chat template. Throws for one that the template would silently ignore.

import { LorikeetError } from '../../../core/errors.ts';
import type { ToolsBody } from '../../schemas/tools.ts';

/** Variables that the server itself sets. */
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
    // A false or null variable asks for nothing, so a template without it passes.
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
