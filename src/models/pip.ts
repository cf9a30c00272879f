// Downloads a Python package with the machine's own pip, so that its indexes, proxies and certificates hold.

import { spawn } from 'node:child_process';
import { describe, unavailable } from './unavailable.ts';

/**
 * pip keeps what it is downloading in the interpreter's folder for temporary files. It is set from within, to the
 * folder that the caller watches and removes: a full /tmp is then no trouble either.
 */
const pipInFolder = [
  // Python would look in the current folder first, where anybody's pip.py may lie.
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
  /** Asked first; then python3, python, and pip programs that stand alone. */
  readonly program: string | null;
  /** All that it sees of the environment; left out: everything. */
  readonly env?: Record<string, string>;
};

/** Arguments of an interpreter that runs pip with these. */
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
    // Where pip is there and fails, another one would fail as well, and its own words help most.
    if (!failure.missing) unavailable(`pip could not download ${requirement} (${failure.reason})`);
  }
  unavailable(`there is no pip to download ${requirement} with: neither python3, python, pip3 nor pip has one`);
}

type Failure = { readonly missing: boolean; readonly reason: string };

/** null where the program succeeded. */
function run(program: string, parameters: readonly string[], env: Python['env']): Promise<Failure | null> {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, { env, stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4096);
    });
    // Not found, or not executable: as good as not there.
    child.on('error', (error) => resolve({ missing: true, reason: describe(error) }));
    child.on('close', (code) => {
      const missing = /No module named '?pip\b/.test(errors);
      const lines = errors.trim().split('\n');
      const reason = lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? '';
      resolve(code === 0 ? null : { missing, reason: reason || `it ended with ${code}` });
    });
  });
}
