// A tokenizer.json pattern as a JavaScript RegExp. The files are written for Oniguruma, where the shorthands are
// Unicode's: `\s` is White_Space (with U+0085, without U+FEFF, against JavaScript's own) and `\d` is any decimal digit.

import { unsupported } from './refuse.ts';
import type { Pattern } from './tokenizer-schema.ts';

const shorthands: Readonly<Record<string, string>> = {
  s: '\\p{White_Space}',
  S: '\\P{White_Space}',
  d: '\\p{Nd}',
  D: '\\P{Nd}',
};

/** GPT-2's own split, which `ByteLevel` with `use_regex` stands for. */
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
    // Possessive quantifiers, nested classes and the like: JavaScript would read them otherwise or not at all.
    throw unsupported(`the pattern ${pattern.Regex}`);
  }
}
