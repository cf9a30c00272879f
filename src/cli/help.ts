// Texts of `lorikeet help` and `--help`, made from the tables that also parse arguments.

import { settingTable } from '../config.ts';
import type { Setting } from '../settings.ts';
import { type Command, exitCodes } from './command.ts';
import { commonOptions } from './parse-arguments.ts';
import { usageLines, usageOfVerb, wrongVerb } from './verbs.ts';

const exitCodeMeanings: Record<keyof typeof exitCodes, string> = {
  ok: 'done',
  failed: 'the work failed',
  usage: 'the command line or the configuration is wrong',
  unavailable: 'the server could not be reached, or is not ready',
};

export function overview(commands: readonly Command[]): string {
  const codes = Object.entries(exitCodes).map(([name, code]): [string, string] => [
    String(code),
    exitCodeMeanings[name as keyof typeof exitCodes],
  ]);
  return [
    'Lorikeet serves many LoRA adapters over one frozen base model.',
    '',
    columns(commands.map(({ name, summary }) => [`lorikeet ${name}`, summary])),
    '',
    '`lorikeet help <command>` shows how it is written, and its options.',
    '',
    'Exit codes:',
    columns(codes),
  ].join('\n');
}

/**
 * Describes a command. Throws UsageError for an unknown verb.
 * @param verb shows that verb's line and options alone
 */
export function commandHelp(command: Command, verb?: string): string {
  const line = verb === undefined ? undefined : usageOfVerb(command, verb);
  if (verb !== undefined && line === undefined) throw wrongVerb(command, verb);
  const own = Object.entries(command.options).filter(([, { help }]) => verb === undefined || isOf(verb, help));
  const options = [...own, ...Object.entries(commonOptions)];
  const lines = [
    ...(line === undefined ? usageLines(command) : [line]),
    command.summary,
    '',
    'Options:',
    columns(options.map(([flag, option]) => [spell(flag, option.placeholder), option.help])),
  ];
  if (command.settings !== 'none') {
    const asksServer = command.settings === 'client';
    const all = command.concerns?.map((key) => settingTable[key]) ?? Object.values(settingTable);
    const shown: readonly Setting<unknown>[] = asksServer ? askingSettings : all;
    lines.push('', 'Settings (flag, variable, default; flags win over variables, those over lorikeet.json):');
    lines.push(columns(shown.map(settingRow)));
    if (shown.length === Object.keys(settingTable).length)
      lines.push('', "vLLM's flags and variables that mean the same are taken too: docs/compatibility.md.");
    else lines.push('', "`lorikeet help serve` lists the server's own settings.");
  }
  return lines.join('\n');
}

const askingSettings: readonly Setting<unknown>[] = [settingTable.url, settingTable.apiKey, settingTable.port];

/** Whether an option is of `verb`: its help may begin with its verbs, as in `pull, export: where to`. */
function isOf(verb: string, help: string): boolean {
  const [, verbs] = /^([a-z]+(?:, [a-z]+)*): /.exec(help) ?? [];
  return verbs === undefined || verbs.split(', ').includes(verb);
}

function settingRow(setting: Setting<unknown>): [string, string] {
  const { flag, placeholder, env, fileEnv, help, aliases } = setting;
  const fallback = setting.defaultHelp ?? (setting.default === null ? 'none' : String(setting.default));
  const variable = fileEnv === null ? env : `${env} or ${fileEnv}`;
  const also = aliases.length === 0 ? '' : `; also ${aliases.map((alias) => `--${alias}`).join(', ')}`;
  return [spell(flag, placeholder), `${help} (${variable}; ${fallback}${also})`];
}

const spell = (flag: string, placeholder: string | null) =>
  placeholder === null ? `--${flag}` : `--${flag} <${placeholder}>`;

/** Two columns, the left one as wide as its widest cell. */
export function columns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n');
}

/** As many columns as the rows have, each as wide as its widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]!.length))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  );
}
