// The chat template in a folder of PEFT or transformers: a file of its own, or a field of tokenizer_config.json. Of
// several templates the one that transformers would take is chosen.

import { plainTemplate } from '../core/chat-template.ts';
import { isRecord } from '../core/is-record.ts';

/** Files that may contain a template, in the order in which transformers looks at them. */
export const templateFiles: readonly string[] = ['chat_template.jinja', 'chat_template.json', 'tokenizer_config.json'];

/** Reads the template; null where the file has none or cannot be read, since nothing else in these files is used. */
export function templateIn(name: string, bytes: Uint8Array): string | null {
  const text = new TextDecoder().decode(bytes);
  if (name.endsWith('.jinja')) return text.trim() === '' ? null : text;
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? plainTemplate(value.chat_template) : null;
  } catch {
    return null;
  }
}
