// Translates regular expressions and grammars into what llguidance reads.

import { LorikeetError } from '../../core/errors.ts';

/**
 * Makes \d and \w, and \D and \W outside of classes, ASCII, as ECMAScript and JSON Schema mean them. llguidance means
 * Unicode.
 */
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

/** Escapes a text, so that the expression matches nothing else. */
export const escapeRegex = (text: string): string =>
  text
    .replace(/[\\^$.*+?()[\]{}|/#&~-]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r');

/** Gives llguidance's Lark as it is, and translates the EBNF of llama.cpp and xgrammar (`root ::= ...`) into Lark. */
export function larkOf(text: string): string {
  return text.includes('::=') ? fromEbnf(text) : text;
}

/** Matches a string, a character class, a comment, `::=`, or a name. */
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
  // Joins the lines of a rule: in Lark a further line of a rule must begin with an alternative.
  return lark.replace(/\n(?!\s*[a-z_][a-z0-9_]*\s*:|\s*\|)\s+/g, ' ');
}
