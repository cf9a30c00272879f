// An adapter's own chat template: found among the files beside the adapter, and kept with its version where the server
// keeps templates. One that equals the base model's is not kept.

import { createHash } from 'node:crypto';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { templateFiles, templateIn } from '../formats/chat-template-files.ts';
import { mayHaveTemplate } from './companions.ts';
import type { AdapterTemplates } from './options.ts';

/** Files beside an adapter: their names, and the templates in them. */
export type Companions = { readonly names: Set<string>; readonly templates: Map<string, string> };

export const noCompanions = (): Companions => ({ names: new Set(), templates: new Map() });

export const templateDigest = (source: string): string => `sha256:${createHash('sha256').update(source).digest('hex')}`;

/** Notes a file and reads it to its end, keeping only a template. Throws `body_too_large`. */
export async function takeCompanion(
  { names, templates }: Companions,
  name: string,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  names.add(name);
  const isLooked = mayHaveTemplate(name);
  const bytesMax = name.endsWith('.jinja') ? limits.chatTemplateBytes : limits.configBytes;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.length;
    if (!isLooked) continue;
    if (size > bytesMax) throw tooLarge(name, bytesMax);
    chunks.push(chunk);
  }
  const template = isLooked ? templateIn(name, Buffer.concat(chunks)) : null;
  if (template !== null) templates.set(name, template);
}

type Found = { readonly tenant: string; readonly companions: Companions; readonly inWeights: string | null };

/**
 * The template to keep with the version; null: the base model's applies. Throws `body_too_large`, `adapter_invalid`,
 * `chat_template_too_slow`.
 */
export async function ownTemplate(
  { base, check }: AdapterTemplates,
  { tenant, companions, inWeights }: Found,
): Promise<string | null> {
  const name = templateFiles.find((file) => companions.templates.has(file));
  const source = name === undefined ? inWeights : companions.templates.get(name)!;
  if (source === null || source.trim() === base?.trim()) return null;
  if (Buffer.byteLength(source) > limits.chatTemplateBytes) throw tooLarge('chat_template', limits.chatTemplateBytes);
  await check({ tenant, source });
  return source;
}

const tooLarge = (name: string, bytesMax: number) =>
  new LorikeetError('body_too_large', {
    message: `${name} is larger than the limit of ${bytesMax} bytes. Without it the base model's template applies.`,
    param: name,
  });
