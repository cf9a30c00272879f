// Rewrites a JSON schema so that llguidance reads it as JSON Schema means it: character classes become ASCII, and
// formats of dates and times become patterns of possible ones.

import { LorikeetError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { assertPlainJson } from '../../core/plain-json.ts';
import { asciiClasses } from './grammar-texts.ts';

/** Keywords whose value is data and not a schema. */
const data = new Set(['const', 'enum', 'default', 'examples']);
/** Keywords whose value is an object of schemas by the caller's names. */
const named = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas']);

// February has 28 days in this pattern, which would otherwise depend on the year.
const months31 = '(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])';
const months30 = '(0[469]|11)-(0[1-9]|[12]\\d|30)';
const date = `\\d{4}-(${months31}|${months30}|02-(0[1-9]|1\\d|2[0-8]))`;
const time = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)';
const formats: Readonly<Record<string, string>> = { date, time, 'date-time': `${date}T${time}` };

/** Parses the text of a schema. Throws `grammar_invalid` or `grammar_too_complex`. */
export function parseSchema(text: string): unknown {
  try {
    assertPlainJson(text, limits);
    return JSON.parse(text);
  } catch (cause) {
    const isLarge = cause instanceof LorikeetError;
    const message = isLarge ? cause.message.replace('The JSON', 'The schema') : 'The schema is not valid JSON.';
    throw new LorikeetError(isLarge ? 'grammar_too_complex' : 'grammar_invalid', { message, cause });
  }
}

/** Rewrites a schema. Throws `grammar_too_complex` where it is too deep. */
export const plainSchema = (schema: object): object => plainMembers(schema, 0) as object;

function plainMembers(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth > limits.schemaDepth) {
    const message = `The schema is deeper than ${limits.schemaDepth} levels.`;
    throw new LorikeetError('grammar_too_complex', { message });
  }
  if (Array.isArray(value)) {
    const entries = value.map((entry) => plainMembers(entry, depth + 1));
    return entries.some((entry, i) => entry !== value[i]) ? entries : value;
  }
  return withFormat(withMembers(value as Members, (name, entry) => plainMember(name, entry, depth)));
}

type Members = Readonly<Record<string, unknown>>;

/** The same object where no member changes, which is usual: tens of thousands of names take long to write again. */
function withMembers(value: Members, change: (name: string, member: unknown) => unknown): Members {
  let isSame = true;
  const entries = Object.entries(value).map(([name, member]) => {
    const changed = change(name, member);
    if (changed !== member) isSame = false;
    return [name, changed] as const;
  });
  return isSame ? value : Object.fromEntries(entries);
}

function plainMember(name: string, value: unknown, depth: number): unknown {
  if (data.has(name)) return value;
  if (name === 'pattern' && typeof value === 'string') return asciiClasses(value);
  if (!named.has(name) || typeof value !== 'object' || value === null) return plainMembers(value, depth + 1);
  const plain = withMembers(value as Members, (_, schema) => plainMembers(schema, depth + 1));
  if (name !== 'patternProperties') return plain;
  return Object.fromEntries(Object.entries(plain).map(([pattern, schema]) => [asciiClasses(pattern), schema]));
}

function withFormat(schema: Members): Members {
  const { format: named, type } = schema;
  if (type !== 'string' || typeof named !== 'string' || !Object.hasOwn(formats, named)) return schema;
  const { format: _, ...rest } = schema;
  const text = formats[named]!;
  const pattern = `^${asciiClasses(text)}$`;
  if (!Object.hasOwn(rest, 'pattern')) return { ...rest, pattern };
  return { ...rest, allOf: [...(Array.isArray(rest.allOf) ? rest.allOf : []), { pattern }] };
}
