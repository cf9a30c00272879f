// Downloads a Python package with the machine's own pip, so that its indexes, proxies and certificates apply.

import { spawn } from 'node:child_process';
import { describe, unavailable } from './unavailable.ts';

/**
 * A program that runs pip with `folder` for temporary files, where pip keeps a running download. The caller measures
 * and removes that folder, and a full /tmp does not matter.
 */
const pipInFolder = [
  // Python would look in the current folder first, which may contain any pip.py.
  'import sys',
  'sys.path = [folder for folder in sys.path if folder]',
  'import runpy, tempfile',
  'tempfile.tempdir = sys.argv.pop(1)',
  'sys.argv[0] = "pip"',
  'runpy.run_module("pip", run_name="__main__", alter_sys=True)',
].join('\n');

const options = [
  'download',
  '--no-deps',
  '--no-input',
  '--only-binary=:all:',
  // The package's code is not run, so the interpreter's version does not matter.
  '--ignore-requires-python',
  '--disable-pip-version-check',
  '--quiet',
  '--retries=2',
  '--timeout=15',
];

export type Python = {
  /** Interpreter that is tried first; then python3, python, and standalone pip programs. */
  readonly program: string | null;
  /** The interpreter's whole environment; left out: it is inherited. */
  readonly env?: Record<string, string>;
};

/** Makes the arguments of an interpreter that runs pip with `parameters`. */
export const pipArguments = (folder: string, parameters: readonly string[]): string[] => [
  ...['-c', pipInFolder, folder],
  ...parameters,
];

export async function pipDownload(requirement: string, folder: string, { program, env }: Python): Promise<void> {
  const parameters = [...options, `--dest=${folder}`, requirement];
  const interpreters = [...(program === null ? [] : [program]), 'python3', 'python'];
  const attempts = [
    ...interpreters.map((program) => [program, ...pipArguments(folder, parameters)]),
    ...['pip3', 'pip'].map((program) => [program, ...parameters]),
  ];
  for (const [program, ...rest] of attempts) {
    const failure = await run(program!, rest, env);
    if (failure === null) return;
    // Where pip exists and fails, another one would fail too, and its own error message helps most.
    if (!failure.missing) unavailable(`pip could not download ${requirement} (${failure.reason})`);
  }
  unavailable(`there is no pip to download ${requirement} with: neither python3, python, pip3 nor pip has one`);
}

type Failure = { readonly missing: boolean; readonly reason: string };

/** Runs a program; null where it succeeded. */
function run(program: string, parameters: readonly string[], env: Python['env']): Promise<Failure | null> {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, { env, stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4096);
    });
    // A program that is not found or not executable counts as missing.
    child.on('error', (error) => resolve({ missing: true, reason: describe(error) }));
    child.on('close', (code) => {
      const missing = /No module named '?pip\b/.test(errors);
      const lines = errors.trim().split('\n');
      const reason = lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? '';
      resolve(code === 0 ? null : { missing, reason: reason || `it ended with ${code}` });
    });
  });
}
