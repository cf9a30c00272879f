// Regular expressions of an adapter's config, matched against module names as Python's `re` does. They come from
// outside, so they run in linear time (RE2) with bounded number and size. Patterns that RE2 cannot express, or reads
// differently, are refused.

import { RE2JS, RE2JSException } from 're2js';
import { limits } from '../core/limits.ts';
import { shorten, unsupportedAdapter } from './refuse-adapter.ts';

export type NameTest = (module: string) => boolean;

/** Compiles the patterns of one config, which share one budget. `param` names the field of a pattern in errors. */
export type PatternCompiler = {
  /** PEFT's rule for keys of rank_pattern and alpha_pattern: `re.match(rf"(.*\.)?({key})$", module)`. */
  suffix(key: string, param: string): NameTest;
  /** `re.fullmatch(pattern, module)`. */
  whole(pattern: string, param: string): NameTest;
  /** Gives the group `idx` of `source` after `re.match`: undefined where nothing matches, null for an empty group. */
  index(source: string, pattern: string, param: string): (module: string) => string | null | undefined;
};

export function patternCompiler(): PatternCompiler {
  let weightLeft = limits.adapterRegexWeight;
  const compile = (source: string, pattern: string, param: string): RE2JS => {
    checkPattern(pattern, param);
    weightLeft -= weight(source);
    if (weightLeft < 0) unsupportedAdapter(param, 'holds more regular expressions than are read here');
    try {
      return RE2JS.compile(source);
    } catch (error) {
      if (!(error instanceof RE2JSException)) throw error;
      return unsupportedAdapter(param, `has the pattern "${shorten(pattern)}", which cannot be matched in linear time`);
    }
  };
  return {
    suffix(key, param) {
      if (isName(key)) return nameTest(key);
      // As in PEFT, without another group around it: a key with a lone ")" must stay the error that it is in Python.
      const regex = compile(`(.*\\.)?(${key})$`, key, param);
      return (module) => regex.matcher(module).lookingAt();
    },
    whole(pattern, param) {
      const regex = compile(pattern, pattern, param);
      return (module) => regex.testExact(module);
    },
    index(source, pattern, param) {
      const regex = compile(source, pattern, param);
      return (module) => {
        const matcher = regex.matcher(module);
        return matcher.lookingAt() ? matcher.group('idx') : undefined;
      };
    },
  };
}

/**
 * Recognises keys that are just names or ends of names. Most keys are, hundreds of them are usual, and RE2 is slow to
 * start.
 */
const isName = (key: string) => key.length <= limits.adapterPatternChars && /^\^?(\w|\.|\\\.)+$/.test(key);

/** Matches a plain key against the name's last characters, one for one; a dot matches any character. */
function nameTest(key: string): NameTest {
  const isWhole = key.startsWith('^');
  const chars = key.slice(isWhole ? 1 : 0).match(/\\?./g)!;
  return (module) => {
    const start = module.length - chars.length;
    if (start < 0 || (start > 0 && (isWhole || module[start - 1] !== '.'))) return false;
    return chars.every((char, index) => char === '.' || char.at(-1) === module[start + index]);
  };
}

function checkPattern(pattern: string, param: string): void {
  const refuse = (reason: string) => unsupportedAdapter(param, `has the pattern "${shorten(pattern)}", ${reason}`);
  if (pattern.length > limits.adapterPatternChars) refuse(`longer than ${limits.adapterPatternChars} characters`);
  // Python reads `{,3}` as "up to three" and RE2 as five characters; `[[:alpha:]]` is a class to RE2 only.
  if (/\{,\d*\}|\[[^\]]*\[:/.test(pattern)) refuse('which engines read differently');
}

/** Length with every counted repetition written out, nested ones too: what a match may cost for each character. */
const weight = (source: string): number =>
  [...source.matchAll(/\{(\d+)(?:,(\d*))?\}/g)].reduce(
    (product, [, least, most]) => product * Math.max(1, Number(most || least)),
    source.length,
  );
