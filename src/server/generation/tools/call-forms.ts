// How models write tool calls. Each form says where calls begin and end in a text, and gives the grammar of an output
// of nothing but calls.

import { limits } from '../../../core/limits.ts';
import { knowsTools } from '../../../tokenizer/tool-turns.ts';
import type { Tool } from '../../schemas/tools.ts';
import { jsonSchemaText } from '../structured-output.ts';

export type CallForm = {
  readonly name: 'hermes' | 'llama3' | 'mistral';
  /** Text before the first call; '' where the output must begin with the call itself. */
  readonly before: string;
  readonly between: string;
  readonly after: string;
  /** Text after the last call. */
  readonly end: string;
  /** Key of a call's arguments. */
  readonly argumentsKey: 'arguments' | 'parameters';
};

/** Hermes 2 and 3, Qwen 2.5 and 3. */
const hermes: CallForm = {
  ...{ name: 'hermes', argumentsKey: 'arguments' },
  ...{ before: '<tool_call>\n', between: '\n<tool_call>\n', after: '\n</tool_call>', end: '' },
};

/** Llama 3.1 and later. */
const llama3: CallForm = {
  ...{ name: 'llama3', argumentsKey: 'parameters' },
  ...{ before: '', between: '; ', after: '', end: '' },
};

/** Mistral, whose control token [TOOL_CALLS] comes first. */
const mistral: CallForm = {
  ...{ name: 'mistral', argumentsKey: 'arguments' },
  ...{ before: '[', between: ', ', after: '', end: ']' },
};

/** The form that a chat template teaches its model; Hermes' where the template knows no tools. */
export function callFormOf(template: string | null): CallForm {
  if (template?.includes('[TOOL_CALLS]')) return mistral;
  if (template?.includes('<tool_call>')) return hermes;
  return template !== null && knowsTools(template) && template.includes('"parameters"') ? llama3 : hermes;
}

/** A Lark grammar of one or more calls of these tools. */
export const callsGrammar = (form: CallForm, tools: readonly Tool[], isParallel: boolean): string =>
  `start: calls\n${callRules(form, tools, isParallel)}`;

/** A Lark grammar of calls of these tools, or an answer of a schema. */
export const callsOrAnswer = (form: CallForm, tools: readonly Tool[], isParallel: boolean, schema: string): string =>
  `start: calls | answer\nanswer: %json ${schema}\n${callRules(form, tools, isParallel)}`;

function callRules(form: CallForm, tools: readonly Tool[], isParallel: boolean): string {
  const { before, between, after, end, argumentsKey } = form;
  const text = (literal: string) => (literal === '' ? '' : `${JSON.stringify(literal)} `);
  const rules = tools.map(({ function: { name, parameters } }, i) => {
    const head = `{"name": ${JSON.stringify(name)}, "${argumentsKey}": `;
    const schema = jsonSchemaText(argumentsSchema(parameters ?? {}), true);
    return `call${i}: ${JSON.stringify(head)} args${i} "}"\nargs${i}: %json ${schema}`;
  });
  const call = `call: ${tools.map((_, i) => `call${i}`).join(' | ')}`;
  const more = isParallel ? `(${text(between)}call ${text(after)}){0,${limits.parallelCalls - 1}} ` : '';
  return [`calls: ${text(before)}call ${text(after)}${more}${text(end)}`, call, ...rules].join('\n');
}

/** A schema of the arguments, which are an object whatever the tool's schema leaves open. */
const argumentsSchema = (parameters: Readonly<Record<string, unknown>>) =>
  Object.hasOwn(parameters, 'type') || Object.hasOwn(parameters, '$ref')
    ? parameters
    : { type: 'object', ...parameters };
