// Splits plain text into pieces that no merge crosses. Pieces stay text even for byte-level vocabularies: the encoder
// maps them to bytes, and only where its cache has no entry.

import { gpt2Pattern, toRegExp } from './pattern.ts';
import { unsupported } from './refuse.ts';
import type { PreTokenizerPart } from './tokenizer-schema.ts';

/** `first`: the text is the very beginning of the input, and does not follow an added token. */
type Split = (text: string, first: boolean) => readonly string[];

export type PreTokenizer = { readonly split: Split; readonly byteLevel: boolean };

export function createPreTokenizer(parts: readonly PreTokenizerPart[]): PreTokenizer {
  const byteLevelAt = parts.findIndex((part) => part.type === 'ByteLevel');
  if (byteLevelAt >= 0 && byteLevelAt < parts.length - 1) throw unsupported('a pre_tokenizer after ByteLevel');
  const steps = parts.map(splitOf);
  return {
    byteLevel: byteLevelAt >= 0,
    split: (text, first) =>
      steps.reduce<readonly string[]>(
        (pieces, step) => pieces.flatMap((piece, index) => step(piece, first && index === 0)),
        [text],
      ),
  };
}

function splitOf(part: PreTokenizerPart): Split {
  switch (part.type) {
    case 'ByteLevel':
      return byteLevelSplit(part.add_prefix_space ?? true, part.use_regex ?? true);
    case 'Digits':
      return isolate(toRegExp({ Regex: part.individual_digits ? '\\p{N}' : '\\p{N}+' }));
    case 'Split':
      return patternSplit(part);
    case 'Metaspace':
      return metaspaceSplit(part.replacement, part.prepend_scheme ?? 'always', part.split ?? true);
  }
}

function byteLevelSplit(addPrefixSpace: boolean, useRegex: boolean): Split {
  const words = toRegExp({ Regex: gpt2Pattern });
  return (text) => {
    const spaced = addPrefixSpace && !text.startsWith(' ') ? ` ${text}` : text;
    return useRegex ? (spaced.match(words) ?? []) : [spaced];
  };
}

function patternSplit(part: Extract<PreTokenizerPart, { type: 'Split' }>): Split {
  const regExp = toRegExp(part.pattern);
  if (part.behavior === 'Isolated') return isolate(regExp);
  if (part.behavior === 'Removed') {
    return (text) => (part.invert ? (text.match(regExp) ?? []) : text.split(regExp)).filter((piece) => piece !== '');
  }
  if (part.invert) throw unsupported('an inverted Split with MergedWithPrevious');
  return (text) => {
    const ends = Array.from(text.matchAll(regExp), (match) => match.index + match[0].length);
    return [...ends, text.length]
      .map((end, index) => text.slice(index === 0 ? 0 : ends[index - 1], end))
      .filter((piece) => piece !== '');
  };
}

/** Makes every match and every gap between matches a piece. */
function isolate(regExp: RegExp): Split {
  return (text) => {
    const pieces: string[] = [];
    let end = 0;
    for (const match of text.matchAll(regExp)) {
      if (match[0] === '') continue;
      if (match.index > end) pieces.push(text.slice(end, match.index));
      pieces.push(match[0]);
      end = match.index + match[0].length;
    }
    if (end < text.length) pieces.push(text.slice(end));
    return pieces;
  };
}

function metaspaceSplit(replacement: string, scheme: 'always' | 'first' | 'never', split: boolean): Split {
  const mark = RegExp.escape(replacement);
  const words = new RegExp(`${mark}[^${mark}]*|[^${mark}]+`, 'gu');
  return (text, first) => {
    const marked = text.replaceAll(' ', replacement);
    const prepend = (scheme === 'always' || (scheme === 'first' && first)) && !marked.startsWith(replacement);
    const whole = prepend ? replacement + marked : marked;
    return split ? (whole.match(words) ?? []) : [whole];
  };
}
