// Reads values from untrusted key-value data (config.json, GGUF metadata), and refuses missing values and wrong types
// by the key's name. Knows no keys.

import { LorikeetError } from '../core/errors.ts';

export type Fields = {
  /** Gives the raw value; undefined where the key is absent or null. */
  get(key: string): unknown;
  /** Reads a positive integer up to `max`. */
  count(key: string, max: number, fallback?: number): number;
  /** Reads a positive finite number. */
  positive(key: string, fallback?: number): number;
  text(key: string): string;
};

/** Makes a reader. `source` names the data in messages: `config.json`. */
export function fields(source: string, get: (key: string) => unknown): Fields {
  const refuse = (key: string, expected: string, found: unknown): never => {
    const shown = found === undefined ? 'is missing' : `must be ${expected}`;
    throw new LorikeetError('model_file_invalid', { message: `Invalid ${source}: ${key} ${shown}.` });
  };
  return {
    get,
    count(key, max, fallback) {
      const value = get(key) ?? fallback;
      if (Number.isInteger(value) && (value as number) > 0 && (value as number) <= max) return value as number;
      return refuse(key, `an integer from 1 to ${max}`, value);
    },
    positive(key, fallback) {
      const value = get(key) ?? fallback;
      if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
      return refuse(key, 'a positive number', value);
    },
    text(key) {
      const value = get(key);
      return typeof value === 'string' ? value : refuse(key, 'a text', value);
    },
  };
}

/** Reads only an object's own properties, so that a key like "constructor" is absent; null counts as absent. */
export function own(json: unknown): (key: string) => unknown {
  const entries = typeof json === 'object' && json !== null ? (json as Readonly<Record<string, unknown>>) : {};
  return (key) => (Object.hasOwn(entries, key) ? (entries[key] ?? undefined) : undefined);
}

/** Shows an untrusted value in a message. */
export const show = (value: unknown): string =>
  typeof value === 'string' ? JSON.stringify(value.slice(0, 80)) : String(value).slice(0, 80);

export function unsupported(reason: string): never {
  throw new LorikeetError('model_unsupported', { message: `The model is not supported: ${reason}.` });
}
