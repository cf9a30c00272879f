// Bounds on JSON text before it is parsed. JSON parsers take any depth and any number of members, but the code behind
// them does not: recursive functions fail at some thousand levels, and a quarter of a million names hold up the event
// loop for seconds. A million empty lists take 0.3 s to parse. One pass over the text counts all three before any value
// is made.

import { LorikeetError } from './errors.ts';
import type { Limits } from './limits.ts';

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const openList = 0x5b;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;

/** `jsonMembers` bounds the members of all objects and, by itself, the number of lists and objects. */
export type JsonBounds = Pick<Limits, 'jsonDepth' | 'jsonMembers'>;

/**
 * Throws `invalid_json` where the text is nested too deeply, or has too many members, or lists and objects. Text that
 * is not JSON may pass. Reads UTF-8 bytes, 4 ns each; characters of a long external string take longer.
 */
export function assertPlainJson(json: string | Buffer, { jsonDepth, jsonMembers }: JsonBounds): void {
  const bytes = typeof json === 'string' ? Buffer.from(json) : json;
  let depth = 0;
  let members = 0;
  let opened = 0;
  let isText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (isText) {
      if (byte === quote) isText = false;
      else if (byte === backslash) at++;
    } else if (byte === quote) isText = true;
    else if (byte === openObject || byte === openList) {
      if (++depth > jsonDepth) throw refusal(`is nested deeper than ${jsonDepth} levels`);
      if (++opened > jsonMembers) throw refusal(`has more than ${jsonMembers} lists and objects`);
    } else if (byte === closeObject || byte === closeList) depth--;
    else if (byte === colon && ++members > jsonMembers) throw refusal(`has more than ${jsonMembers} members`);
  }
}

const refusal = (what: string) => new LorikeetError('invalid_json', { message: `The JSON ${what}.` });
