// Keeps control tokens that somebody typed into a message from becoming control tokens. Each such spelling gets a mark
// after its first character; the template renders, its own control tokens are cut out, and then the marks are removed
// from the plain text between them. Text without such a spelling is never touched.

import { LorikeetError } from '../core/errors.ts';
import type { ChatMessage } from './tokenizer.ts';

export type Guarded = { readonly messages: readonly ChatMessage[]; unmark(text: string): string };

export function createControlGuard(controlTokens: readonly string[]): (messages: readonly ChatMessage[]) => Guarded {
  if (controlTokens.length === 0) return (messages) => ({ messages, unmark: (text) => text });
  // A lookahead, so that overlapping spellings are all found; any case, because a template may change it.
  const start = new RegExp(`(?=${controlTokens.toSorted().map(RegExp.escape).join('|')})[^]`, 'giu');
  const spells = (text: string | undefined) => text !== undefined && text.search(start) >= 0;

  return (messages) => {
    if (!messages.some(({ role, name, content }) => spells(role) || spells(name) || spells(content))) {
      return { messages, unmark: (text) => text };
    }
    const mark = unusedCharacter(messages);
    const guard = (text: string) => text.replace(start, (character) => character + mark);
    return {
      messages: messages.map(({ role, content, name }) => ({
        role: guard(role),
        content: guard(content),
        ...(name === undefined ? {} : { name: guard(name) }),
      })),
      unmark: (text) => text.replaceAll(mark, ''),
    };
  };
}

/** A private-use character (no space, no case, so templates leave it alone) that the messages don't contain. */
function unusedCharacter(messages: readonly ChatMessage[]): string {
  const used = new Set(messages.flatMap(({ role, content, name }) => [...role, ...content, ...(name ?? '')]));
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) return character;
  }
  throw new LorikeetError('chat_template_failed', { message: 'The messages use up every private-use character.' });
}
