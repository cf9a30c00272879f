// The `lorikeet` command: finds the command, gives it its arguments, and turns what went wrong into one line and an
// exit code. Only a programmer's error shows a stack.

import { pathToFileURL } from 'node:url';
import { loadConfig } from '../config.ts';
import { LorikeetError } from '../core/errors.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, type Io, UsageError } from './command.ts';
import { configCommand } from './config.ts';
import { doctorCommand } from './doctor.ts';
import { fetchCommand } from './fetch.ts';
import { generateCommand } from './generate.ts';
import { commandHelp, overview } from './help.ts';
import { keysCommand } from './keys.ts';
import { parseArguments } from './parse-arguments.ts';
import { serveCommand } from './serve.ts';
import { versionCommand } from './version.ts';

const commands: readonly Command[] = [
  serveCommand,
  generateCommand,
  fetchCommand,
  keysCommand,
  configCommand,
  doctorCommand,
  versionCommand,
];

type Environment = Readonly<Record<string, string | undefined>>;

/** @param env the environment; left out, the process's own */
export async function runCli(args: readonly string[], io: Io, env?: Environment, cwd?: string): Promise<ExitCode> {
  const json = args.includes('--json');
  try {
    return await dispatch(args, io, env, cwd);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof LorikeetError)) throw error;
    const isUsage = error instanceof UsageError;
    const code = isUsage ? 'usage' : error.code;
    const exitCode = isUsage ? exitCodes.usage : exitCodeOf(error);
    if (json) io.stdout.write(`${JSON.stringify({ error: { code, message: error.message } })}\n`);
    else io.stderr.write(`lorikeet: ${error.message}\n`);
    return exitCode;
  }
}

async function dispatch(words: readonly string[], io: Io, env?: Environment, cwd?: string): Promise<ExitCode> {
  const [name = 'help', ...args] = words;
  if (name === 'help' || name === '--help' || name === '-h') return help(args[0], io);
  const command = find(name === '--version' ? 'version' : name);
  const { flags, positionals } = parseArguments(command, args);
  if (flags.help) {
    io.stdout.write(`${commandHelp(command)}\n`);
    return exitCodes.ok;
  }
  const invocation: Invocation = {
    flags,
    positionals,
    json: flags.json === true,
    io,
    loadConfig: (more) => loadConfig({ ...(flags as Record<string, string | boolean>), ...more }, env, cwd),
    print: (line) => void io.stdout.write(`${line}\n`),
    printJson: (value) => void io.stdout.write(`${JSON.stringify(value, null, 2)}\n`),
  };
  return await command.run(invocation);
}

function help(name: string | undefined, io: Io): ExitCode {
  io.stdout.write(`${name === undefined ? overview(commands) : commandHelp(find(name))}\n`);
  return exitCodes.ok;
}

function find(name: string): Command {
  const command = commands.find((candidate) => candidate.name === name);
  if (command !== undefined) return command;
  throw new UsageError(`There is no command \`${name}\`. \`lorikeet help\` lists them.`);
}

function exitCodeOf({ code, status }: LorikeetError): ExitCode {
  if (code === 'invalid_config') return exitCodes.usage;
  return status === 503 ? exitCodes.unavailable : exitCodes.failed;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  // Ends what may still be under way, such as a download of a start that was stopped.
  process.exit(await runCli(process.argv.slice(2), process));
}
