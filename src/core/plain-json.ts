// Bounds on JSON text before it is parsed. JSON parsers take any depth and any number of members, but the code behind
// them does not: recursive functions fail at some thousand levels, and a quarter of a million names hold up the event
// loop for seconds. One pass over the text counts both before any value is made.

import { LorikeetError } from './errors.ts';
import type { Limits } from './limits.ts';

const [quote, backslash, colon] = [0x22, 0x5c, 0x3a];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

export type JsonBounds = Pick<Limits, 'jsonDepth' | 'jsonMembers'>;

/**
 * Throws `invalid_json` where the text is nested too deeply or has too many members. Text that is not JSON may pass.
 */
export function assertPlainJson(text: string, { jsonDepth, jsonMembers }: JsonBounds): void {
  let [depth, members] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (char === quote) at = endOfText(text, at);
    else if (char === openObject || char === openList) {
      if (++depth > jsonDepth) throw refusal(`is nested deeper than ${jsonDepth} levels`);
    } else if (char === closeObject || char === closeList) depth--;
    else if (char === colon && ++members > jsonMembers) throw refusal(`has more than ${jsonMembers} members`);
  }
}

/** Finds the closing quote of the string that begins at `begin`; the end of the text where there is none. */
function endOfText(text: string, begin: number): number {
  for (let end = begin; ; ) {
    end = text.indexOf('"', end + 1);
    if (end === -1) return text.length;
    let escapes = end;
    while (text.charCodeAt(escapes - 1) === backslash) escapes--;
    if ((end - escapes) % 2 === 0) return end;
  }
}

const refusal = (what: string) => new LorikeetError('invalid_json', { message: `The JSON ${what}.` });
