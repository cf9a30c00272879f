// Runs the command line in the test's process; gives its output and exit code.

import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { runCli } from '../../src/cli/main.ts';

export function cliIn(folder: string) {
  return async (args: readonly string[], { env = {}, stdin = '' } = {}) => {
    const written = { stdout: '', stderr: '' };
    const sink = (name: keyof typeof written) =>
      new Writable({
        write(chunk, _encoding, done) {
          written[name] += chunk;
          done();
        },
      });
    const io = { stdin: Readable.from([stdin]), stdout: sink('stdout'), stderr: sink('stderr') };
    const code = await runCli(args, io, { LORIKEET_DATA_DIR: join(folder, 'data'), HF_HOME: folder, ...env }, folder);
    return { code, ...written };
  };
}
