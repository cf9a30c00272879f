// Opens the process that renders adapters' chat templates, for uploads and conversations.

import type { Config } from '../config.ts';
import { systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { AdapterTemplates } from '../registry/options.ts';
import { startTemplates } from '../templates/start.ts';
import type { TemplateProcess } from '../templates/template-process.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

export type Templates = Pick<TemplateProcess, 'render'> & { readonly ofUploads: AdapterTemplates };

/**
 * Starts the process; null where the setting is off.
 * @param open closes the process when it is disposed
 */
export async function openTemplates(
  { adapterTemplates }: Config,
  tokenizer: Tokenizer,
  open: AsyncDisposableStack,
): Promise<Templates | null> {
  if (!adapterTemplates) return null;
  const { boundMemory } = await import('../runtime/bound-memory.ts');
  const process = startTemplates({ timers: systemTimers, limits, boundMemory });
  open.defer(() => process.close());
  return {
    render: (template, variables) => process.render(template, variables),
    ofUploads: { base: tokenizer.chatTemplate, check: uploadCheck(tokenizer, process) },
  };
}

/**
 * Makes the check of an uploaded template: it must parse, and render two plain turns in time. A template that refuses
 * those turns by an error of its own passes.
 */
export function uploadCheck(
  tokenizer: Pick<Tokenizer, 'endOfTurn'>,
  process: Pick<TemplateProcess, 'render' | 'check'>,
): AdapterTemplates['check'] {
  return async (template) => {
    await process.check(template);
    const render = (variables: Parameters<TemplateProcess['render']>[1]) => process.render(template, variables);
    try {
      await tokenizer.endOfTurn({ source: template.source, render });
    } catch (error) {
      if (!(error instanceof LorikeetError && error.code === 'chat_template_failed')) throw error;
    }
  };
}
