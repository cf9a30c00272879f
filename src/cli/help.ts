// Texts of `lorikeet help` and `--help`, from the same tables that parse.

import { settingTable } from '../config.ts';
import type { Setting } from '../settings.ts';
import { type Command, exitCodes } from './command.ts';
import { commonOptions } from './parse-arguments.ts';

const exitCodeMeanings: Record<keyof typeof exitCodes, string> = {
  ok: 'done',
  failed: 'the work failed',
  usage: 'the command line or the configuration is wrong',
  unavailable: 'the server could not be reached, or is not ready',
};

export function overview(commands: readonly Command[]): string {
  const rows = commands.map(({ usage, summary }): [string, string] => [usage, summary]);
  const codes = Object.entries(exitCodes).map(([name, code]): [string, string] => [
    String(code),
    exitCodeMeanings[name as keyof typeof exitCodes],
  ]);
  return [
    'Lorikeet serves many LoRA adapters over one frozen base model.',
    '',
    columns(rows.map(([usage, summary]) => [`lorikeet ${usage}`, summary])),
    '',
    '`lorikeet <command> --help` lists its options.',
    '',
    'Exit codes:',
    columns(codes),
  ].join('\n');
}

export function commandHelp(command: Command): string {
  const options = Object.entries({ ...command.options, ...commonOptions });
  const lines = [
    `lorikeet ${command.usage}`,
    command.summary,
    '',
    'Options:',
    columns(options.map(([flag, option]) => [spell(flag, option.placeholder), option.help])),
  ];
  if (command.settings) {
    lines.push('', 'Settings (flag, variable, default; flags win over variables, those over lorikeet.json):');
    lines.push(columns(Object.values(settingTable).map(settingRow)));
  }
  return lines.join('\n');
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
