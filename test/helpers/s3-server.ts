// An S3 server of a test's own: versitygw over a temporary folder, which checks signatures and checksums.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { freePort } from './postgres-server.ts';
import { waitFor, within } from './waits.ts';

export type S3Server = {
  readonly url: string;
  /** Environment variables that a client needs. */
  readonly env: Readonly<Record<string, string>>;
  /** Kills it, as a power cut would. */
  stop(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  remove(): Promise<void>;
};

const credentials = { id: 'lorikeet', secret: 'lorikeet-secret' };

/** The program as `go install`, or the script of the CI, installs it; null where it is missing. */
export function versitygw(): string | null {
  const folders = [join(homedir(), '.cache/lorikeet/bin'), join(homedir(), 'go/bin')];
  const all = [...folders, ...(process.env.PATH ?? '').split(delimiter)].map((folder) => join(folder, 'versitygw'));
  return all.find((path) => existsSync(path)) ?? null;
}

export async function startS3(program: string): Promise<S3Server> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-s3-'));
  mkdirSync(join(folder, 'bucket'));
  const port = await freePort();
  const endpoint = `http://127.0.0.1:${port}`;
  let server: ChildProcess;
  let ended: Promise<unknown> = Promise.resolve();
  const start = async () => {
    const started = spawn(program, ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', folder], {
      stdio: 'ignore',
      env: { ROOT_ACCESS_KEY: credentials.id, ROOT_SECRET_KEY: credentials.secret },
    });
    server = started;
    ended = new Promise((resolve) => started.once('exit', resolve));
    const isThere = async () => {
      if (started.exitCode !== null) throw new Error(`versitygw ended with ${started.exitCode}.`);
      return await fetch(endpoint, { signal: AbortSignal.timeout(10_000) }).then(
        () => true,
        () => false,
      );
    };
    await waitFor('versitygw answers', isThere, { everyMs: 50 });
  };
  const stop = async () => {
    server.kill('SIGKILL');
    await within('versitygw ends', ended);
  };
  await start();
  return {
    url: `s3://bucket?endpoint=${endpoint}&region=us-east-1`,
    env: { AWS_ACCESS_KEY_ID: credentials.id, AWS_SECRET_ACCESS_KEY: credentials.secret },
    ...{ start, stop },
    async remove() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
