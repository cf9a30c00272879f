// The `lorikeet` command: finds the command, parses its arguments, and turns an error into one line and an exit code.
// Only a programmer's error shows a stack.

import { pathToFileURL } from 'node:url';
import { loadConfig } from '../config.ts';
import { LorikeetError } from '../core/errors.ts';
import { suggest } from '../server/http/suggest.ts';
import { adaptersCommand } from './adapters.ts';
import { ServerRefusal } from './ask-server.ts';
import { backupCommand, restoreCommand } from './backup.ts';
import { benchCommand } from './bench.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, type Io, UsageError } from './command.ts';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { doctorCommand } from './doctor.ts';
import { fetchCommand } from './fetch.ts';
import { generateCommand } from './generate.ts';
import { commandHelp, overview } from './help.ts';
import { jobsCommand } from './jobs.ts';
import { keysCommand } from './keys.ts';
import { mergesCommand } from './merges.ts';
import { migrateCommand } from './migrate.ts';
import { parseArguments } from './parse-arguments.ts';
import { replicasCommand } from './replicas.ts';
import { serveCommand } from './serve.ts';
import { trainCommand } from './train.ts';
import { verbsOf } from './verbs.ts';
import { versionCommand } from './version.ts';

const commands: readonly Command[] = [
  serveCommand,
  generateCommand,
  adaptersCommand,
  trainCommand,
  jobsCommand,
  mergesCommand,
  replicasCommand,
  benchCommand,
  fetchCommand,
  keysCommand,
  backupCommand,
  restoreCommand,
  migrateCommand,
  configCommand,
  doctorCommand,
  completionCommand(() => commands),
  versionCommand,
];

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Runs one command line.
 * @param env the environment; the process's own if left out
 */
export async function runCli(args: readonly string[], io: Io, env?: Environment, cwd?: string): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    return await dispatch(args, io, env, cwd);
  } catch (error) {
    const said = explain(error);
    if (said === null) throw error;
    const { code, message, hint = '', exitCode } = said;
    if (json) io.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
    else io.stderr.write(`lorikeet: ${message}\n${hint}`);
    return exitCode;
  }
}

type Explanation = { code: string; message: string; hint?: string; exitCode: ExitCode };

/** Describes an error for the user; null for a programmer's error. */
function explain(error: unknown): Explanation | null {
  if (error instanceof UsageError) return { code: 'usage', message: error.message, exitCode: exitCodes.usage };
  if (error instanceof ServerRefusal) {
    const { code, message, hint, status } = error;
    return { code, message: `${message} (${code})`, hint, exitCode: exitCodeOf(code, status) };
  }
  if (!(error instanceof LorikeetError)) return null;
  return { code: error.code, message: error.message, exitCode: exitCodeOf(error.code, error.status) };
}

async function dispatch(words: readonly string[], io: Io, env?: Environment, cwd?: string): Promise<ExitCode> {
  const [name = 'help', ...args] = words;
  if (name === 'help' || name === '--help' || name === '-h') return help(args, io);
  const command = find(name === '--version' ? 'version' : name);
  const { flags, positionals } = parseArguments(command, args);
  if (flags.help) {
    io.stdout.write(`${commandHelp(command, verbsOf(command).length > 0 ? positionals[0] : undefined)}\n`);
    return exitCodes.ok;
  }
  const invocation: Invocation = {
    flags,
    positionals,
    json: flags.json === true,
    io,
    loadConfig: (more) => loadConfig({ ...settingFlags(command, flags), ...more }, env, cwd),
    print: (line) => void io.stdout.write(`${line}\n`),
    printJson: (value) => void io.stdout.write(`${JSON.stringify(value, null, 2)}\n`),
  };
  return await command.run(invocation);
}

/**
 * Flags that are settings. A command's own options are left out, since one may have the name of another server's flag.
 */
function settingFlags({ options }: Command, flags: Invocation['flags']): Record<string, string | boolean> {
  const others = Object.entries(flags).filter(([name]) => !Object.hasOwn(options, name));
  return Object.fromEntries(others) as Record<string, string | boolean>;
}

function help([name, verb]: readonly string[], io: Io): ExitCode {
  io.stdout.write(`${name === undefined ? overview(commands) : commandHelp(find(name), verb)}\n`);
  return exitCodes.ok;
}

function find(name: string): Command {
  const command = commands.find((candidate) => candidate.name === name);
  if (command !== undefined) return command;
  const meant = suggest(
    name,
    commands.map((known) => known.name),
  );
  const hint = meant === null ? '' : ` Did you mean \`${meant}\`?`;
  throw new UsageError(`There is no command \`${name}\`.${hint} \`lorikeet help\` lists them.`);
}

function exitCodeOf(code: string, status: number): ExitCode {
  if (code === 'invalid_config' || code === 'memory_exceeded') return exitCodes.usage;
  return status === 503 ? exitCodes.unavailable : exitCodes.failed;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  // Exiting ends work that is still under way, such as the download of a start that was stopped.
  process.exit(await runCli(process.argv.slice(2), process));
}
