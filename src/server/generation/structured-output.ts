// Reads the grammar that a request asks of its output, from OpenAI's and vLLM's fields.

import { LorikeetError } from '../../core/errors.ts';
import type { Grammar } from '../../core/grammar.ts';
import type { SamplingBody } from '../schemas/sampling.ts';
import type { StructuredBody } from '../schemas/structured.ts';
import type { Services } from '../services.ts';
import { asciiClasses, escapeRegex, larkOf } from './grammar-texts.ts';
import { parseSchema, plainSchema } from './plain-schema.ts';

/** A grammar, and the field of the body that asked for it. */
export type Asked = { readonly grammar: Grammar; readonly param: string };

type Form = { readonly param: string; readonly make: () => Grammar };

/** Reads the grammar of a body; null where the output is free. Throws where more than one field asks for one. */
export function structureOf(body: StructuredBody): Asked | null {
  const { response_format: format, structured_outputs: outputs = {} } = body;
  const { json, regex, choice, grammar, json_object, disable_any_whitespace = false } = outputs;
  const forms: readonly (Form | null)[] = [
    formatForm(format),
    form('guided_json', body.guided_json, (schema) => jsonGrammar(schema)),
    form('guided_regex', body.guided_regex, regexGrammar),
    form('guided_choice', body.guided_choice, choiceGrammar),
    form('guided_grammar', body.guided_grammar, larkGrammar),
    form('structured_outputs.json', json, (schema) => jsonGrammar(schema, disable_any_whitespace)),
    form('structured_outputs.regex', regex, regexGrammar),
    form('structured_outputs.choice', choice, choiceGrammar),
    form('structured_outputs.grammar', grammar, larkGrammar),
    form('structured_outputs.json_object', json_object || undefined, () => anyObject(disable_any_whitespace)),
  ];
  const [first, second] = forms.filter((one) => one !== null);
  if (first === undefined) return null;
  if (second !== undefined) {
    const message = `${first.param} and ${second.param} exclude each other.`;
    throw new LorikeetError('invalid_parameter', { message, param: second.param });
  }
  return blamed(first.param, () => ({ param: first.param, grammar: first.make() }));
}

/** Reads the grammar from a field of another interface; errors name `param`. */
export function structureAt(param: string, body: StructuredBody): Asked | null {
  try {
    const asked = structureOf(body);
    return asked === null ? null : { ...asked, param };
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    const [, said = error.message] = /^[\w.]+: (.*)$/s.exec(error.message) ?? [];
    throw new LorikeetError(error.code, { message: `${param}: ${said}`, param, cause: error });
  }
}

/** Gives the grammar after a check that it compiles; null where the output is free. */
export async function compiledGrammar(
  { grammars, limits }: Services,
  asked: Asked | null,
  body: SamplingBody,
): Promise<Grammar | null> {
  if (asked === null) return null;
  checkEnds(body);
  const { grammar, param } = asked;
  if (grammar.text.length > limits.grammarChars) {
    const message = `${param} has ${grammar.text.length} characters; at most ${limits.grammarChars} are taken.`;
    throw new LorikeetError('grammar_too_complex', { message, param });
  }
  try {
    await grammars.check(grammar);
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    throw new LorikeetError(error.code, { message: `${param}: ${error.message}`, param, cause: error });
  }
  return grammar;
}

/**
 * Throws for sampling fields that could forbid the end of the text: a finished output would have no next token then.
 */
function checkEnds(body: SamplingBody): void {
  for (const param of ['ignore_eos', 'min_tokens', 'allowed_token_ids'] as const) {
    if (!body[param]) continue;
    const message = `${param} excludes structured output, whose grammar says which tokens come and where it ends.`;
    throw new LorikeetError('invalid_parameter', { message, param });
  }
}

function form<T>(param: string, value: T | undefined | null, make: (value: T) => Grammar): Form | null {
  return value === undefined || value === null ? null : { param, make: () => make(value) };
}

function formatForm(format: StructuredBody['response_format']): Form | null {
  if (format === undefined || format.type === 'text') return null;
  const { json_schema: named, schema: bare = null } = format;
  const inner = named?.schema ?? null;
  if (inner !== null && bare !== null) {
    const param = 'response_format.schema';
    throw new LorikeetError('invalid_parameter', { message: `${param} and json_schema exclude each other.`, param });
  }
  if (inner !== null) return { param: 'response_format.json_schema.schema', make: () => jsonGrammar(inner) };
  if (bare !== null) return { param: 'response_format.schema', make: () => jsonGrammar(bare) };
  if (format.type === 'json_object') return { param: 'response_format', make: () => anyObject() };
  const param = 'response_format.json_schema.schema';
  throw new LorikeetError('missing_parameter', { message: `${param} is required.`, param });
}

const anyObject = (compact = false): Grammar => jsonGrammar({ type: 'object' }, compact);

/**
 * White space between the parts of JSON: none, a space, or a line break with indentation. Without the bound small
 * models go on writing white space.
 */
const whitespace = '( |\\n[ \\t]{0,40})?';

/**
 * The schema as text, with this server's choice of white space in `x-guidance`; callers may not set options of
 * llguidance.
 */
export function jsonSchemaText(schema: unknown, compact = false): string {
  const parsed = typeof schema === 'string' ? parseSchema(schema) : schema;
  if (typeof parsed === 'boolean') return JSON.stringify(parsed);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new LorikeetError('grammar_invalid', { message: 'A JSON schema is an object.' });
  }
  if (Object.hasOwn(parsed, 'x-guidance')) {
    throw new LorikeetError('grammar_invalid', { message: 'x-guidance is not supported in a schema.' });
  }
  const options = compact ? { whitespace_flexible: false } : { whitespace_pattern: whitespace };
  return JSON.stringify({ 'x-guidance': options, ...plainSchema(parsed) });
}

const jsonGrammar = (schema: unknown, compact = false): Grammar => ({
  kind: 'json_schema',
  text: jsonSchemaText(schema, compact),
});

const regexGrammar = (text: string): Grammar => ({ kind: 'regex', text: asciiClasses(text) });
const choiceGrammar = (choices: readonly string[]): Grammar => ({
  kind: 'regex',
  text: choices.map((choice) => escapeRegex(choice)).join('|'),
});
const larkGrammar = (text: string): Grammar => ({ kind: 'lark', text: larkOf(text) });

/** Runs `work`, and adds the caller's parameter to its error. */
function blamed<T>(param: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof LorikeetError) || error.param !== null) throw error;
    throw new LorikeetError(error.code, { message: `${param}: ${error.message}`, param, cause: error });
  }
}
