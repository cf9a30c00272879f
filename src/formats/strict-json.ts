// Parses untrusted JSON and refuses duplicate keys. JSON.parse keeps the last of them, so that two readers of one file
// could see different things.

import { LorikeetError } from '../core/errors.ts';
import { assertPlainJson, type JsonBounds } from '../core/plain-json.ts';

/** A separate class, so that each format can report the error in its own words. */
export class StrictJsonError extends Error {}

/**
 * Parses the text. With `naturalNumbers` every number must be written as digits only: `1.0`, `1e3` and `-0` are
 * integers to JSON.parse but not to other readers. Throws StrictJsonError.
 * @param options.bounds limits on text that comes from callers
 */
export function parseStrictJson(
  text: string,
  options: { naturalNumbers?: boolean; bounds?: JsonBounds } = {},
): unknown {
  let value: unknown;
  try {
    if (options.bounds !== undefined) assertPlainJson(text, options.bounds);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof LorikeetError) {
      throw new StrictJsonError(error.message.replace(/^The JSON/, 'it').replace(/\.$/, ''));
    }
    throw new StrictJsonError(`it is not JSON (${(error as Error).message.slice(0, 120)})`);
  }
  checkTokens(text, options.naturalNumbers ?? false);
  return value;
}

/** Checks keys and numbers of text that is known to be valid JSON, so that only strings, brackets and commas matter. */
function checkTokens(text: string, naturalNumbers: boolean): void {
  /** Keys seen in each open object; null for an open array. */
  const open: (Set<string> | null)[] = [];
  let keyNext = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '"') {
      const end = stringEnd(text, at);
      if (keyNext) addKey(open.at(-1)!, text.slice(at, end));
      keyNext = false;
      at = end - 1;
    } else if (char === '{' || char === '[') {
      open.push(char === '{' ? new Set() : null);
      keyNext = char === '{';
    } else if (char === '}' || char === ']') {
      open.pop();
      keyNext = false;
    } else if (char === ',') {
      keyNext = open.at(-1) !== null;
    } else if (naturalNumbers && (char === '-' || (char >= '0' && char <= '9'))) {
      at = numberEnd(text, at) - 1;
    }
  }
}

/** Gives the place after the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function numberEnd(text: string, start: number): number {
  let end = start;
  while (end < text.length && '+-.0123456789Ee'.includes(text[end]!)) end++;
  const number = text.slice(start, end);
  if (!/^\d+$/.test(number)) throw new StrictJsonError(`the number ${number.slice(0, 40)} is not a natural number`);
  return end;
}

function addKey(keys: Set<string> | null, quoted: string): void {
  // Escapes are resolved first: "a" and "\u0061" are the same key.
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
  if (keys?.has(key)) throw new StrictJsonError(`the key ${JSON.stringify(key.slice(0, 80))} occurs twice`);
  keys?.add(key);
}
