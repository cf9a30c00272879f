// Parses one line of a training file: a prompt with its completion, or a conversation in OpenAI's shape. Types and keys
// are strict, so that a misspelt field is reported instead of ignored. Knows no tokens and no files.

import { limits } from '../core/limits.ts';
import { assertPlainJson } from '../core/plain-json.ts';
import { parseStrictJson, StrictJsonError } from './strict-json.ts';

/** A row may have half of a request's members: it has a conversation, but no grammar. */
const bounds = { jsonDepth: limits.jsonDepth, jsonMembers: limits.jsonMembers / 2 };

export type TrainingMessage = {
  /** Role of the turn. OpenAI's newer `developer` is read as `system`, which templates know. */
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
  readonly name?: string;
  /** Calls of tools, trained with their turn. Arguments are parsed values. */
  readonly tool_calls?: readonly TrainingCall[];
  readonly tool_call_id?: string;
  /** The loss includes this turn. True for assistant turns without `weight: 0`, false for all others. */
  readonly isTarget: boolean;
};

export type TrainingCall = {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: unknown };
};

/** A function in OpenAI's shape. Only the template looks at anything but its name. */
export type TrainingTool = { readonly type: 'function'; readonly function: { readonly name: string } };

export type TrainingRow =
  | { readonly kind: 'completion'; readonly prompt: string; readonly completion: string }
  | { readonly kind: 'chat'; readonly messages: readonly TrainingMessage[]; readonly tools: readonly TrainingTool[] };

/** `problem` completes the sentence "Line 7 ...". */
export type RowProblem = { readonly problem: string };

/** Recognises a line of white space, which every reader of JSONL skips: it counts as a line, but is no row. */
export const isBlank = (line: string): boolean => line.trim() === '';

/** Parses a line without its newline. Never throws because of the line's content. */
export function parseTrainingRow(line: string): TrainingRow | RowProblem {
  try {
    return readRow(parseLine(line));
  } catch (error) {
    if (error instanceof BadRow) return { problem: error.message };
    throw error;
  }
}

class BadRow extends Error {}

function bad(problem: string): never {
  throw new BadRow(problem);
}

type Fields = Readonly<Record<string, unknown>>;

function parseLine(line: string): unknown {
  if (line.length > limits.trainingRowChars) bad(`is longer than ${limits.trainingRowChars} characters`);
  if (line.trim() === '') bad('is empty');
  try {
    return parseStrictJson(line, { bounds });
  } catch (error) {
    if (error instanceof StrictJsonError) bad(`is refused: ${error.message}`);
    throw error;
  }
}

function readRow(value: unknown): TrainingRow {
  const row = withoutEmpty(fields(value, ''), ['prompt', 'completion', 'messages']);
  if ('messages' in row) {
    // `parallel_tool_calls` is accepted and ignored.
    refuseOthers(row, '', ['messages', 'tools', 'parallel_tool_calls']);
    return { kind: 'chat', messages: readMessages(row.messages), tools: readTools(row.tools ?? []) };
  }
  refuseOthers(row, '', ['prompt', 'completion']);
  if (!('prompt' in row || 'completion' in row)) bad('has neither messages nor prompt and completion');
  return { kind: 'completion', prompt: text(row.prompt, 'prompt'), completion: text(row.completion, 'completion') };
}

function readMessages(value: unknown): TrainingMessage[] {
  if (!Array.isArray(value)) bad('has messages that are not an array');
  if (value.length > limits.messages) bad(`has more than ${limits.messages} messages`);
  const messages = value.map((message, index) => readMessage(message, `messages[${index}]`));
  if (!messages.some(({ role }) => role === 'assistant')) bad('has no message of the assistant');
  return messages;
}

const roles: Readonly<Record<string, TrainingMessage['role']>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
};

function readMessage(value: unknown, path: string): TrainingMessage {
  const message = withoutEmpty(fields(value, path), ['role', 'content', 'name', 'tool_calls', 'tool_call_id']);
  refuseOthers(message, path, ['role', 'content', 'name', 'weight', 'tool_calls', 'tool_call_id']);
  const name = text(message.role, `${path}.role`);
  const role = Object.hasOwn(roles, name)
    ? roles[name]!
    : bad(`has a ${path}.role that is not trained: ${quote(name)}`);
  const { weight = 1 } = message;
  const calls = message.tool_calls ?? undefined;
  if (calls !== undefined && role !== 'assistant') bad(`has ${path}.tool_calls in a turn of the ${role}`);
  if (weight !== 0 && weight !== 1) bad(`has a ${path}.weight that is neither 0 nor 1`);
  if ('weight' in message && role !== 'assistant') bad(`has a ${path}.weight beside a turn of the ${role}`);
  return {
    role,
    content: readContent(calls === undefined ? message.content : (message.content ?? ''), `${path}.content`),
    ...(calls === undefined ? {} : { tool_calls: readCalls(calls, `${path}.tool_calls`) }),
    ...('tool_call_id' in message ? { tool_call_id: text(message.tool_call_id, `${path}.tool_call_id`) } : {}),
    ...('name' in message ? { name: text(message.name, `${path}.name`) } : {}),
    isTarget: role === 'assistant' && weight === 1,
  };
}

function readTools(value: unknown): TrainingTool[] {
  return list(value, 'tools').map((tool, index) => {
    const path = `tools[${index}]`;
    const { type, function: named } = fields(tool, path);
    if (type !== 'function') bad(`has a ${path}.type that is not "function"`);
    const declared = fields(named, `${path}.function`);
    return { type, function: { ...declared, name: text(declared.name, `${path}.function.name`) } };
  });
}

function readCalls(value: unknown, at: string): TrainingCall[] {
  return list(value, at).map((call, index) => {
    const path = `${at}[${index}]`;
    const { id = '', type = 'function', function: called } = fields(call, path);
    if (type !== 'function') bad(`has a ${path}.type that is not "function"`);
    const { name, arguments: args } = fields(called, `${path}.function`);
    return {
      ...{ id: text(id, `${path}.id`), type },
      function: { name: text(name, `${path}.function.name`), arguments: readArguments(args, path) },
    };
  });
}

/** Reads arguments: JSON as text, as OpenAI has it, or the value itself. */
function readArguments(value: unknown, path: string): unknown {
  if (typeof value !== 'string') return fields(value, `${path}.function.arguments`);
  try {
    assertPlainJson(value, bounds);
    return JSON.parse(value);
  } catch {
    return bad(`has ${path}.function.arguments that are not JSON`);
  }
}

function list(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) bad(`has ${path} that are not a list`);
  if (value.length > limits.tools) bad(`has more than ${limits.tools} ${path}`);
  return value;
}

/** Reads a content: a text, or parts of type `text`, which are joined with newlines as in a request. */
function readContent(value: unknown, path: string): string {
  if (!Array.isArray(value)) return text(value, path);
  const parts = value.map((part, index) => {
    const at = `${path}[${index}]`;
    const { type, ...rest } = fields(part, at);
    if (type !== 'text') bad(`has a ${at}.type that is not "text"`);
    refuseOthers(rest, at, ['text']);
    return text(rest.text, `${at}.text`);
  });
  return parts.join('\n');
}

function fields(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  return bad(path === '' ? 'is not an object' : `has a ${path} that is not an object`);
}

/**
 * Drops null and empty fields, which clients write for absent ones: OpenAI's answers, used as rows, have `tool_calls:
 * null`, `annotations: []` and the like. In the `kept` fields an empty text or list is a value, but null is not.
 */
function withoutEmpty(object: Fields, kept: readonly string[]): Fields {
  const isEmpty = (value: unknown) =>
    value === '' || (typeof value === 'object' && Object.keys(value ?? {}).length === 0);
  const entries = Object.entries(object).filter(
    ([key, value]) => value !== null && (kept.includes(key) || !isEmpty(value)),
  );
  return Object.fromEntries(entries);
}

function refuseOthers(object: Fields, path: string, known: readonly string[]): void {
  const other = Object.keys(object).find((key) => !known.includes(key));
  if (other !== undefined) bad(`has an unknown key${path === '' ? '' : ` in ${path}`}: ${quote(other)}`);
}

function text(value: unknown, path: string): string {
  if (value === undefined) bad(`has no ${path}`);
  return typeof value === 'string' ? value : bad(`has a ${path} that is not a text`);
}

const quote = (word: string) => JSON.stringify(word.length > 60 ? `${word.slice(0, 60)}...` : word);
