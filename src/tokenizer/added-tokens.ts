// Finds added tokens in text before anything else reads it: the leftmost first, and the longest of those that start
// there.

import type { AddedToken } from './tokenizer-schema.ts';

/** Pieces of text and token ids, in order. No piece of text is empty. */
export type Sections = (string | number)[];

export function createAddedSplit(tokens: readonly AddedToken[]): (text: string) => Sections {
  const byFirstUnit = new Map<number, AddedToken[]>();
  for (const token of tokens.toSorted((a, b) => b.content.length - a.content.length)) {
    const unit = token.content.charCodeAt(0);
    const candidates = byFirstUnit.get(unit);
    if (candidates === undefined) byFirstUnit.set(unit, [token]);
    else candidates.push(token);
  }

  return (text) => {
    const sections: Sections = [];
    let end = 0;
    for (let at = 0; at < text.length; at++) {
      const candidates = byFirstUnit.get(text.charCodeAt(at));
      const token = candidates?.find(({ content }) => text.startsWith(content, at));
      if (token === undefined) continue;
      const before = text.slice(end, at);
      const plain = token.lstrip ? before.replace(/\p{White_Space}+$/u, '') : before;
      if (plain !== '') sections.push(plain);
      sections.push(token.id);
      end = at + token.content.length;
      while (token.rstrip && end < text.length && /\p{White_Space}/u.test(text[end]!)) end++;
      at = end - 1;
    }
    if (end < text.length) sections.push(text.slice(end));
    return sections;
  };
}
