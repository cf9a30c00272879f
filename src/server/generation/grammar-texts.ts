// Regular expressions and grammars as people write them, in the words that llguidance reads.

import { LorikeetError } from '../../core/errors.ts';

/** \d, \w and \s as ASCII, which is what ECMAScript and JSON Schema mean; elsewhere they would be all of Unicode. */
export function asciiClasses(regex: string): string {
  const ranges: Readonly<Record<string, string>> = { d: '0-9', w: 'A-Za-z0-9_' };
  let isInside = false;
  return regex.replace(/\\[\s\S]|[[\]]/g, (part) => {
    if (part === '[') isInside = true;
    if (part === ']') isInside = false;
    const range = ranges[part[1] ?? ''];
    if (range !== undefined) return isInside ? range : `[${range}]`;
    const without = ranges[(part[1] ?? '').toLowerCase()];
    return without !== undefined && !isInside ? `[^${without}]` : part;
  });
}

/** A text as an expression that matches nothing else. */
export const escapeRegex = (text: string): string =>
  text
    .replace(/[\\^$.*+?()[\]{}|/#&~-]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r');

/** llguidance's Lark as it is; `root ::= ...`, which llama.cpp and xgrammar write, in Lark's words. */
export function larkOf(text: string): string {
  return text.includes('::=') ? fromEbnf(text) : text;
}

/** A string, a character class, a comment, `::=`, or a name. */
const ebnfPart = /"(?:\\[\s\S]|[^"\\])*"|\[(?:\\[\s\S]|[^\]\\])*\]|#[^\n]*|::=|[A-Za-z_][A-Za-z0-9_-]*/g;

function fromEbnf(text: string): string {
  const names = new Set([...text.matchAll(/([A-Za-z_][A-Za-z0-9_-]*)\s*::=/g)].map(([, name]) => name!));
  if (!names.has('root')) throw new LorikeetError('grammar_invalid', { message: 'The grammar has no rule root.' });
  const ruleName = (name: string) =>
    name === 'root' ? 'start' : `r_${name.toLowerCase().replaceAll('-', '_')}${/[A-Z]/.test(name) ? '_u' : ''}`;
  const lark = text.replace(ebnfPart, (part) => {
    if (part.startsWith('"')) return part;
    if (part.startsWith('[')) return `/${part.replaceAll('/', '\\/')}/`;
    if (part.startsWith('#')) return '';
    if (part === '::=') return ':';
    return names.has(part) ? ruleName(part) : part;
  });
  // A rule goes on over lines; Lark wants those to begin with an alternative.
  return lark.replace(/\n(?!\s*[a-z_][a-z0-9_]*\s*:|\s*\|)\s+/g, ' ');
}
