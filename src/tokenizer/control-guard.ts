// Keeps control tokens that somebody typed into a message from becoming control tokens. A mark is inserted after the
// first character of each such spelling. The template renders, its own control tokens are cut out, and then the marks
// are removed from the text between them. Text without such a spelling is never changed.

import { LorikeetError } from '../core/errors.ts';
import type { ChatMessage } from './tokenizer.ts';

type Variables = Readonly<Record<string, unknown>>;

export type Guarded = {
  readonly messages: readonly ChatMessage[];
  readonly variables: Variables;
  unmark(text: string): string;
};

export type ControlGuard = (messages: readonly ChatMessage[], variables?: Variables) => Guarded;

export function createControlGuard(controlTokens: readonly string[]): ControlGuard {
  const plain = (messages: readonly ChatMessage[], variables: Variables): Guarded => ({
    ...{ messages, variables, unmark: (text) => text },
  });
  if (controlTokens.length === 0) return (messages, variables = {}) => plain(messages, variables);
  // A lookahead finds overlapping spellings too. Case is ignored, because a template may change it.
  const start = new RegExp(`(?=${controlTokens.toSorted().map(RegExp.escape).join('|')})[^]`, 'giu');

  return (messages, variables = {}) => {
    const texts = [...textsOf(messages), ...textsOf(variables)];
    if (!texts.some((text) => text.search(start) >= 0)) return plain(messages, variables);
    const mark = unusedCharacter(texts);
    const guard = (text: string) => text.replace(start, (character) => character + mark);
    return {
      messages: withTexts(messages, guard),
      variables: withTexts(variables, guard),
      unmark: (text) => text.replaceAll(mark, ''),
    };
  };
}

/** Lists every text in a value of objects and lists, names of members included. */
function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(textsOf);
  return Object.entries(value).flatMap(([name, entry]) => [name, ...textsOf(entry)]);
}

function withTexts<T>(value: T, change: (text: string) => string): T {
  if (typeof value === 'string') return change(value) as T;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((entry) => withTexts(entry, change)) as T;
  const entries = Object.entries(value).map(([name, entry]) => [change(name), withTexts(entry, change)] as const);
  return Object.fromEntries(entries) as T;
}

/**
 * Finds a private-use character that the texts do not contain. It is no space and has no case, so templates leave it
 * alone.
 */
function unusedCharacter(texts: readonly string[]): string {
  const used = new Set<string>();
  for (const text of texts) for (const character of text) used.add(character);
  for (let code = 0xe000; code <= 0xf8ff; code++) {
    const character = String.fromCharCode(code);
    if (!used.has(character)) return character;
  }
  throw new LorikeetError('chat_template_failed', { message: 'The messages use up every private-use character.' });
}
