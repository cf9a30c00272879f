// Settings as a table: how a value is written, checked and found. This module knows neither Lorikeet's settings nor the
// process: config.ts has the table, and passes in flags, environment and file.

import { LorikeetError } from './core/errors.ts';

export type Setting<T> = {
  /** The environment variable, by which messages name the setting. */
  readonly env: string;
  /** The flag's name, without the dashes. */
  readonly flag: string;
  /** Other servers' names of the same flag. */
  readonly aliases: readonly string[];
  readonly default: T;
  /** Describes the default where the value itself is null or unclear; null: the value is shown. */
  readonly defaultHelp: string | null;
  readonly help: string;
  /** Stands for the value in `--flag <placeholder>`; null for a switch. */
  readonly placeholder: string | null;
  /** Variable that names a file with the value. Set for secrets alone, which are never printed; null otherwise. */
  readonly fileEnv: string | null;
  /** Converts text to a value. Throws an Error that completes the sentence "LORIKEET_X ..." and reveals no secret. */
  parse(text: string): T;
};

// Settings of a table have different types; only `parse` and `default` depend on them.
// biome-ignore lint/suspicious/noExplicitAny: the type of each row is read back by ValuesOf
export type SettingTable = Readonly<Record<string, Setting<any>>>;
export type ValuesOf<Table extends SettingTable> = {
  readonly [Key in keyof Table]: Table[Key] extends Setting<infer T> ? T : never;
};

type Extras = { flag?: string; aliases?: readonly string[]; defaultHelp?: string; placeholder?: string };

type Row<T> = { env: string; default: T; help: string; extras: Extras; parse(text: string): T };

function row<T>({ env, help, extras, parse, default: value }: Row<T>): Setting<T> {
  return {
    env,
    help,
    parse,
    default: value,
    flag:
      extras.flag ??
      env
        .replace(/^LORIKEET_/, '')
        .toLowerCase()
        .replaceAll('_', '-'),
    aliases: extras.aliases ?? [],
    defaultHelp: extras.defaultHelp ?? null,
    placeholder: extras.placeholder ?? 'text',
    fileEnv: null,
  };
}

export function text<T extends string | null>(
  env: string,
  fallback: T,
  help: string,
  extras: Extras = {},
): Setting<string | T> {
  return row<string | T>({ env, default: fallback, help, extras, parse: (value) => value });
}

const units: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** A setting that is a size: `512MiB`, `2G`, or plain bytes. Every unit is a power of 1024. */
export function bytes<T extends number | null>(
  env: string,
  fallback: T,
  help: string,
  extras: Extras = {},
): Setting<number | T> {
  const parse = (value: string) => {
    const [, digits, unit = ''] = /^(\d{1,15}(?:\.\d{1,3})?) *([kmgt]?)(?:i?b)?$/i.exec(value) ?? [];
    const size = Math.floor(Number(digits) * units[unit.toLowerCase()]!);
    if (!Number.isSafeInteger(size)) throw new Error(`must be a size such as 512MiB, not ${JSON.stringify(value)}`);
    return size;
  };
  const defaultHelp = fallback === null ? undefined : `${fallback / 1024 ** 2} MiB`;
  return row<number | T>({
    env,
    default: fallback,
    help,
    extras: { placeholder: 'size', ...(defaultHelp ? { defaultHelp } : {}), ...extras },
    parse,
  });
}

type Range = { min: number; max: number };

export function integer<T extends number | null>(
  env: string,
  fallback: T,
  { min, max }: Range,
  help: string,
  extras: Extras = {},
): Setting<number | T> {
  const parse = (value: string) => {
    const number = Number(value);
    if (!/^\d{1,15}$/.test(value) || number < min || number > max) {
      throw new Error(`must be a whole number from ${min} to ${max}, not ${JSON.stringify(value)}`);
    }
    return number;
  };
  return row<number | T>({ env, default: fallback, help, extras: { placeholder: 'n', ...extras }, parse });
}

/** A setting that is a share: above 0, at most 1. */
export function share(env: string, fallback: number, help: string, extras: Extras = {}): Setting<number> {
  const parse = (value: string) => {
    const number = Number(value);
    if (!/^\d(\.\d{1,6})?$/.test(value) || number <= 0 || number > 1) {
      throw new Error(`must be a number above 0, at most 1, not ${JSON.stringify(value)}`);
    }
    return number;
  };
  return row({ env, default: fallback, help, extras: { placeholder: 'share', ...extras }, parse });
}

/** A setting with fixed choices. They are compared as text: `oneOf(..., [4, 8])` takes "4". */
export function oneOf<const Choice extends string | number, T extends Choice | null>(
  env: string,
  fallback: T,
  choices: readonly Choice[],
  help: string,
  extras: Extras = {},
): Setting<Choice | T> {
  const parse = (value: string) => {
    const chosen = choices.find((choice) => String(choice) === value);
    if (chosen === undefined) throw new Error(`must be one of ${choices.join(', ')}, not ${JSON.stringify(value)}`);
    return chosen;
  };
  const placeholder = choices.join('|');
  return row<Choice | T>({ env, default: fallback, help, extras: { placeholder, ...extras }, parse });
}

export function onOff(env: string, help: string, extras: Extras = {}): Setting<boolean> {
  const words: Record<string, boolean> = { 1: true, true: true, yes: true, on: true };
  Object.assign(words, { 0: false, false: false, no: false, off: false });
  const parse = (value: string) => {
    const known = words[value.toLowerCase()];
    if (known === undefined) throw new Error(`must be on or off, not ${JSON.stringify(value)}`);
    return known;
  };
  return { ...row<boolean>({ env, default: false, help, extras, parse }), placeholder: null };
}

export function secret(env: string, fileEnv: string, help: string, extras: Extras = {}): Setting<string | null> {
  const parse = (value: string) => value.trim();
  return {
    ...row<string | null>({ env, default: null, help, extras: { placeholder: 'secret', ...extras }, parse }),
    fileEnv,
  };
}

export type Sources = {
  /** Values of the command line by flag name or alias. */
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The configuration file's values, by the table's keys; null: there is no file. */
  readonly file: { readonly name: string; readonly values: Readonly<Record<string, unknown>> } | null;
  readText(path: string): string;
  /**
   * Other servers' flags and variables, translated to values of settings by the settings' variables. Lorikeet's own
   * names win.
   */
  readonly others?: { readonly flags: Foreign; readonly env: Foreign };
};

type Foreign = Readonly<Record<string, Found>>;

export type Resolved<Table extends SettingTable> = {
  readonly values: ValuesOf<Table>;
  /** Where each value came from: a flag such as `--port`, a variable, the configuration file's name, or `default`. */
  readonly origins: { readonly [Key in keyof Table]: string };
};

/**
 * Finds each setting's value: flags win over the environment, then the file, then defaults. Throws `invalid_config`.
 */
export function resolveSettings<Table extends SettingTable>(table: Table, sources: Sources): Resolved<Table> {
  refuseUnknownKeys(table, sources.file);
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const [key, setting] of Object.entries(table)) {
    const found = find(key, setting, sources);
    values[key] = found === null ? setting.default : parse(setting, found);
    origins[key] = found === null ? 'default' : found.origin;
  }
  return { values, origins } as Resolved<Table>;
}

type Found = { readonly value: string; readonly origin: string };

function find(key: string, setting: Setting<unknown>, sources: Sources): Found | null {
  const { flags, env, file, others, readText } = sources;
  for (const flag of [setting.flag, ...setting.aliases]) {
    const value = flags[flag];
    if (value !== undefined) return { value: String(value), origin: `--${flag}` };
  }
  const foreignFlag = others?.flags[setting.env];
  if (foreignFlag !== undefined) return foreignFlag;
  // An empty variable counts as unset: compose files and manifests cannot express the difference.
  const inEnv = env[setting.env];
  if (inEnv) return { value: inEnv, origin: setting.env };
  const path = setting.fileEnv === null ? undefined : env[setting.fileEnv];
  if (path) return { value: readSecret(setting.fileEnv!, path, readText), origin: setting.fileEnv! };
  const foreign = others?.env[setting.env];
  if (foreign !== undefined) return foreign;
  const inFile = file?.values[key];
  if (inFile === undefined || inFile === null) return null;
  if (typeof inFile === 'object') {
    throw invalid(setting, `in ${file?.name} ("${key}") must be a plain value, not an object or a list`);
  }
  return { value: String(inFile), origin: file?.name ?? '' };
}

function readSecret(variable: string, path: string, readText: Sources['readText']): string {
  try {
    return readText(path);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new LorikeetError('invalid_config', {
      message: `${variable} names ${path}, which cannot be read (${reason}).`,
      param: variable,
      cause: error,
    });
  }
}

function parse(setting: Setting<unknown>, { value, origin }: Found): unknown {
  try {
    return setting.parse(value);
  } catch (error) {
    const from = origin === setting.env ? '' : ` (from ${origin})`;
    throw invalid(setting, `${(error as Error).message}${from}`);
  }
}

function refuseUnknownKeys(table: SettingTable, file: Sources['file']): void {
  for (const key of Object.keys(file?.values ?? {})) {
    if (key in table || key === '$schema') continue;
    throw new LorikeetError('invalid_config', {
      message: `${file?.name} has "${key}", which is no setting. \`lorikeet config\` lists them.`,
      param: key,
    });
  }
}

const invalid = (setting: Setting<unknown>, complaint: string) =>
  new LorikeetError('invalid_config', { message: `${setting.env} ${complaint}.`, param: setting.env });
