// Parses the words of a command line into flags and positionals, by the tables of settings and options.

import { type ParseArgsConfig, parseArgs } from 'node:util';
import { settingTable } from '../config.ts';
import { suggest } from '../server/http/suggest.ts';
import { joinModules, vllmFlags } from '../vllm-words.ts';
import { type Command, type Option, UsageError } from './command.ts';

export const commonOptions: Readonly<Record<string, Option>> = {
  config: { placeholder: 'path', help: 'configuration file instead of ./lorikeet.json' },
  json: { placeholder: null, help: 'print JSON' },
  help: { placeholder: null, help: 'print this' },
};

type Flags = Record<string, string | boolean | string[] | undefined>;

export function parseArguments(command: Command, args: readonly string[]): { flags: Flags; positionals: string[] } {
  const options: NonNullable<ParseArgsConfig['options']> = {};
  for (const [flag, { placeholder, multiple = false }] of Object.entries(flagsOf(command))) {
    options[flag] = { type: placeholder === null ? 'boolean' : 'string', multiple };
  }
  options.help = { type: 'boolean', short: 'h' };
  const { values, positionals } = parse(command, joinModules(args), options);
  if (positionals.length > command.positionalsMax && !values.help) {
    throw new UsageError(`\`${positionals[command.positionalsMax]}\` is one word too many.`);
  }
  return { flags: values, positionals };
}

/** All flags that a command takes: its own options win over those of every command, and both over settings. */
export function flagsOf(command: Command): Readonly<Record<string, Option>> {
  const flags: Record<string, Option> = { ...command.options };
  for (const [flag, option] of Object.entries(commonOptions)) flags[flag] ??= option;
  if (command.settings !== 'none') {
    for (const { flag, aliases, placeholder, help } of Object.values(settingTable)) {
      for (const name of [flag, ...aliases]) flags[name] ??= { placeholder, help };
    }
  }
  if (command.settings === 'server') {
    for (const [flag, { placeholder = 'value', says }] of Object.entries(vllmFlags)) {
      flags[flag] ??= { placeholder, help: `vLLM's: ${says}` };
    }
  }
  return flags;
}

/** Flags of other trainers and servers, with the flag that each means here. */
const otherWords: Readonly<Record<string, string>> = {
  rank: 'r',
  'lora-r': 'r',
  'lora-alpha': 'alpha',
  'learning-rate': 'lr',
  'lora-dropout': 'dropout',
  'target-modules': 'targets',
  'num-epochs': 'epochs',
  model: 'from',
};

function meantFlag(flag: string, known: readonly string[]): string | null {
  const other = otherWords[flag];
  return other !== undefined && known.includes(other) ? other : suggest(flag, known);
}

function parse(command: Command, args: string[], options: NonNullable<ParseArgsConfig['options']>) {
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true, allowNegative: true });
    return { values: values as Flags, positionals };
  } catch (error) {
    // Node's message goes on about `--`; only its first sentence names the problem.
    const [complaint] = (error as Error).message.split('. ');
    const [, unknown] = /^Unknown option '--([^']+)'/.exec(complaint ?? '') ?? [];
    const meant = unknown === undefined ? null : meantFlag(unknown, Object.keys(options));
    const hint = meant === null ? '' : ` Did you mean --${meant}?`;
    throw new UsageError(
      `${complaint?.replace(/\.$/, '')}.${hint} \`lorikeet help ${command.name}\` lists the options.`,
    );
  }
}
