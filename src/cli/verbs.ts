// Reads a command's verbs from its usage: `adapters list | show <ref> | ...` has one verb in each part.

import { suggest } from '../server/http/suggest.ts';
import { type Command, UsageError } from './command.ts';

type Written = Pick<Command, 'name' | 'usage'>;

/** Usage lines: one for each verb, or one for a command without verbs. */
export function usageLines({ name, usage }: Written): string[] {
  const rest = usage.startsWith(`${name} `) ? usage.slice(name.length + 1) : '';
  const parts = rest.split(' | ');
  return parts.length < 2 ? [`lorikeet ${usage}`] : parts.map((part) => `lorikeet ${name} ${part}`);
}

export function verbsOf(command: Written): string[] {
  const lines = usageLines(command);
  return lines.length < 2 ? [] : lines.map((line) => line.split(' ')[2]!);
}

export const usageOfVerb = (command: Written, verb: string): string | undefined =>
  usageLines(command)[verbsOf(command).indexOf(verb)];

/** Makes the error for a verb that is missing, unknown or wrongly used. */
export function wrongVerb(command: Written, verb: string | undefined): UsageError {
  const known = verbsOf(command);
  if (verb === undefined || verb === '') return new UsageError(`Write \`lorikeet ${command.usage}\`.`);
  const line = usageOfVerb(command, verb);
  if (line !== undefined) return new UsageError(`Write \`${line}\`.`);
  const meant = suggest(verb, known);
  const hint = meant === null ? `There are ${known.join(', ')}.` : `Did you mean \`${meant}\`?`;
  return new UsageError(`There is no \`lorikeet ${command.name} ${verb}\`. ${hint}`);
}
