// The field `chat_template` of tokenizer_config.json, in a base model's files and beside adapters.

import { isRecord } from './is-record.ts';

/**
 * Reads the field: a template, or several named ones, of which `default` is for plain chat. null where there is none,
 * or where it is blank.
 */
export function plainTemplate(value: unknown): string | null {
  const named = Array.isArray(value) ? value.find((entry) => isRecord(entry) && entry.name === 'default') : null;
  const template = named?.template ?? value;
  return typeof template === 'string' && template.trim() !== '' ? template : null;
}
