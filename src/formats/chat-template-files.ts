// The chat template in a folder of PEFT or transformers: a file of its own, or a field of tokenizer_config.json. Where
// there are several, the one that transformers takes.

import { isRecord } from '../core/is-record.ts';

/** In the order in which transformers looks at them. */
export const templateFiles: readonly string[] = ['chat_template.jinja', 'chat_template.json', 'tokenizer_config.json'];

/** null where the file has none, or is none that can be read: nothing else of these files is used. */
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

/** Of several by name, `default` is for plain chat. */
function plainTemplate(value: unknown): string | null {
  if (typeof value === 'string') return value.trim() === '' ? null : value;
  if (!Array.isArray(value)) return null;
  const plain = value.find((entry) => isRecord(entry) && entry.name === 'default');
  return typeof plain?.template === 'string' ? plain.template : null;
}
