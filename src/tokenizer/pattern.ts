// Translates a tokenizer.json pattern to a JavaScript RegExp. The files are written for Oniguruma, where shorthands are
// Unicode's: `\s` is White_Space (with U+0085 and without U+FEFF, unlike in JavaScript) and `\d` is any decimal digit.

import { unsupported } from './refuse.ts';
import type { Pattern } from './tokenizer-schema.ts';

const shorthands: Readonly<Record<string, string>> = {
  s: '\\p{White_Space}',
  S: '\\P{White_Space}',
  d: '\\p{Nd}',
  D: '\\P{Nd}',
};

/** GPT-2's own split, which `ByteLevel` does with `use_regex`. */
export const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

export function toRegExp(pattern: Pattern): RegExp {
  if ('String' in pattern) return new RegExp(RegExp.escape(pattern.String), 'gu');
  const source = pattern.Regex.replace(/\\([\s\S])/g, (shorthand, letter: string) => {
    if (/[wWbBhHAzZGRX]/.test(letter)) throw unsupported(`the pattern ${pattern.Regex}`);
    return shorthands[letter] ?? shorthand;
  });
  try {
    return new RegExp(source, 'gu');
  } catch {
    // JavaScript would read possessive quantifiers, nested classes and the like differently or not at all.
    throw unsupported(`the pattern ${pattern.Regex}`);
  }
}
