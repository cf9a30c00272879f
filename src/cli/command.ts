// What a command of the command line is, and what it is given. Commands take everything from here, so that a test runs
// them in its own process.

import type { Readable, Writable } from 'node:stream';
import type { LoadedConfig, settingTable } from '../config.ts';

/** Exit codes; `lorikeet help` prints them. */
export const exitCodes = {
  ok: 0,
  /** The work failed: a check of `doctor`, a refused request, a server that could not start. */
  failed: 1,
  /** The command line or the configuration is wrong. */
  usage: 2,
  /** The server could not be reached, or is not ready. */
  unavailable: 3,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export type Option = {
  /** null: a switch. */
  readonly placeholder: string | null;
  readonly help: string;
  readonly multiple?: boolean;
};

export type Io = { readonly stdin: Readable; readonly stdout: Writable; readonly stderr: Writable };

export type Invocation = {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | string[] | undefined>>;
  readonly json: boolean;
  readonly io: Io;
  /** Reads the configuration with this command's flags, and `more` where a word stands for one. */
  loadConfig(more?: Readonly<Record<string, string>>): LoadedConfig;
  print(line: string): void;
  /** Pretty JSON on stdout. */
  printJson(value: unknown): void;
};

export type Command = {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  /** Its own options, beside those that every command has. */
  readonly options: Readonly<Record<string, Option>>;
  /** Whose settings' flags (--port ...) it takes too: a server's own, or those that find one. */
  readonly settings: 'server' | 'client' | 'none';
  /** Those of a server's settings that its help shows; left out: all of them. */
  readonly concerns?: readonly (keyof typeof settingTable)[];
  readonly positionalsMax: number;
  run(invocation: Invocation): Promise<ExitCode>;
};

/** The command line is wrong; the message says how. */
export class UsageError extends Error {}
