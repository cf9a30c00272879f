// A server with keys on the real model in a process of its own, its memory, and callers of two tenants.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cliIn } from '../../test/helpers/run-cli.ts';

export type StrainedServer = {
  readonly url: string;
  readonly port: number;
  /** Milliseconds from the start of the process until the server was ready. */
  readonly startMs: number;
  /** Keys of two tenants. */
  readonly keys: readonly [string, string];
  enginePid(): number | null;
  /** Resident memory of the server and of its engine, in MiB. */
  memory(): { readonly server: number; readonly engine: number };
  /** Processor time of the server and of its engine so far, in milliseconds. */
  cpuMs(): { readonly server: number; readonly engine: number };
  stop(): Promise<void>;
};

const command = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** @param weights a data dir, which may have the model's lowered weights */
export async function startStrained(modelFile: string, weights: string): Promise<StrainedServer> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-strain-'));
  const keyOf = async (tenant: string) => {
    const made = await cliIn(folder)([
      'keys',
      'create',
      '--tenant',
      tenant,
      '--scopes',
      'generate,admin,metrics',
      '--json',
    ]);
    return (JSON.parse(made.stdout) as { key: string }).key;
  };
  const keys = [await keyOf('a'), await keyOf('b')] as const;
  const cached = join(weights, 'weights');
  if (existsSync(cached)) symlinkSync(cached, join(folder, 'data', 'weights'));
  const began = performance.now();
  const settings = ['--port', '0', '--data-dir', join(folder, 'data'), '--log-level', 'fatal'];
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', command, 'serve', modelFile, ...settings],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let said = '';
  let url: string | undefined;
  for await (const part of child.stderr) {
    said += part;
    url = /is ready at (\S+) after/.exec(said)?.[1];
    if (url !== undefined) break;
  }
  child.stderr.resume();
  if (url === undefined) throw new Error(`The server did not start:\n${said}`);
  const startMs = performance.now() - began;
  const enginePid = () => {
    const pids = readOr(`/proc/${child.pid}/task/${child.pid}/children`).split(' ').filter(Boolean).map(Number);
    return pids.find((pid) => readOr(`/proc/${pid}/cmdline`).includes('src/engine/main.ts')) ?? null;
  };
  return {
    ...{ url, startMs, keys, enginePid },
    port: Number(new URL(url).port),
    memory: () => ({ server: residentMiB(child.pid!), engine: residentMiB(enginePid()) }),
    cpuMs: () => ({ server: cpuMs(child.pid!), engine: cpuMs(enginePid()) }),
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const residentMiB = (pid: number | null) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readOr(`/proc/${pid}/status`))?.[1] ?? 0) / 1024);

/** Milliseconds of a tick in /proc on Linux. */
const tickMs = 10;

function cpuMs(pid: number | null): number {
  const fields = readOr(`/proc/${pid}/stat`)
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}

export type Asked = { readonly status: number; readonly ms: number };

/** Asks for one answer of exactly `max_tokens` tokens. @returns status 0 where the caller left */
export async function ask({ url }: StrainedServer, key: string, body: object, signal?: AbortSignal): Promise<Asked> {
  const began = performance.now();
  try {
    const answer = await fetch(`${url}/v1/generate`, {
      ...{ method: 'POST', body: JSON.stringify({ temperature: 0, ignore_eos: true, ...body }) },
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      ...(signal ? { signal } : {}),
    });
    await answer.arrayBuffer();
    return { status: answer.status, ms: performance.now() - began };
  } catch (error) {
    if (signal?.aborted) return { status: 0, ms: performance.now() - began };
    throw error;
  }
}
