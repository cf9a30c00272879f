// What a command of the command line is, and what it receives. Commands use nothing else of the process, so that a test
// can run them in its own.

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
  /** Stands for the value in the help; null for a switch. */
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
  /**
   * Reads the configuration with this command's flags; `more` are further flags, for a positional that stands for one.
   */
  loadConfig(more?: Readonly<Record<string, string>>): LoadedConfig;
  print(line: string): void;
  /** Prints indented JSON on stdout. */
  printJson(value: unknown): void;
};

export type Command = {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  /** Options of this command, beside those of every command. */
  readonly options: Readonly<Record<string, Option>>;
  /**
   * Settings that are flags of this command too (--port ...): `server`: a server's own; `client`: those that find a
   * server.
   */
  readonly settings: 'server' | 'client' | 'none';
  /** Settings that the help lists; all if left out. */
  readonly concerns?: readonly (keyof typeof settingTable)[];
  readonly positionalsMax: number;
  run(invocation: Invocation): Promise<ExitCode>;
};

/** An error of the command line; its message says how to write it. */
export class UsageError extends Error {}
