// A PostgreSQL of a test's own: Debian's programs, a temporary folder, a free port on loopback. It flushes nothing,
// since it need not survive a power cut.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { waitFor, waitMsMax, within } from './waits.ts';

export type PostgresServer = {
  /** URL of one of its databases; by default of the one that is always there. */
  url(database?: string): string;
  /** Makes a new, empty database. @returns its URL */
  createDatabase(): Promise<string>;
  /** Stops it as a power cut would: connections break, nothing is finished. */
  stop(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  remove(): Promise<void>;
};

const root = '/usr/lib/postgresql';

/** The folder of the newest version's programs; null where there is none. */
function programs(): string | null {
  if (!existsSync(root)) return null;
  const versions = readdirSync(root).filter((version) => existsSync(join(root, version, 'bin', 'initdb')));
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? null : join(root, newest, 'bin');
}

/** The account of the programs, which refuse to run as root: as root, the account of Debian's package. */
const account = (): { uid: number; gid: number } | object =>
  process.getuid?.() === 0 ? { uid: numericId('-u'), gid: numericId('-g') } : {};

function numericId(flag: '-u' | '-g'): number {
  return Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
}

export async function startPostgres(): Promise<PostgresServer> {
  const bin = programs();
  if (bin === null) throw new Error(`There is no PostgreSQL in ${root}: install Debian's package postgresql.`);
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-postgres-'));
  if (process.getuid?.() === 0) chownSync(folder, numericId('-u'), numericId('-g'));
  const data = join(folder, 'data');
  const initialise = [join(bin, 'initdb'), '-D', data, '-A', 'trust', '-U', 'lorikeet', '--locale=C', '-E', 'UTF8'];
  run([...initialise, '--no-sync']);
  const port = await freePort();
  const url = (database = 'postgres') => `postgres://lorikeet@127.0.0.1:${port}/${database}`;
  let server: ChildProcess | null = null;
  let exited: Promise<unknown> = Promise.resolve();
  let made = 0;

  const start = async () => {
    const settings = ['fsync=off', 'full_page_writes=off', 'max_connections=300', 'shared_buffers=32MB'];
    const options = [...settings, `port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`];
    const command = [join(bin, 'postgres'), '-D', data, ...options.flatMap((option) => ['-c', option])];
    const [program, ...args] = command;
    server = spawn(program!, args, { stdio: 'ignore', cwd: folder, ...account() });
    const started = server;
    exited = new Promise((resolve) => started.once('exit', resolve));
    const isThere = async () => {
      if (started.exitCode !== null) throw new Error(`PostgreSQL ended with ${started.exitCode}.`);
      return await answers(url());
    };
    await waitFor('PostgreSQL answers', isThere, { everyMs: 50 });
  };
  const stop = async () => {
    if (server === null) return;
    server = null;
    run([join(bin, 'pg_ctl'), '-D', data, '-m', 'immediate', '-W', 'stop']);
    await within('PostgreSQL ends', exited);
  };
  await start();
  return {
    ...{ url, start, stop },
    async createDatabase() {
      const name = `test_${process.pid}_${++made}`;
      await withClient(url(), (client) => client.query(`create database ${name}`));
      return url(name);
    },
    async remove() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A new database on the server at this URL. */
export async function createDatabaseOn(server: string): Promise<string> {
  const name = `test_${process.pid}_${Math.random().toString(36).slice(2)}`;
  await withClient(server, (client) => client.query(`create database ${name}`));
  const url = new URL(server);
  url.pathname = name;
  return url.href;
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  // While PostgreSQL is away, another program may have its port and never answer.
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, query_timeout: waitMsMax });
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const answers = (url: string): Promise<boolean> =>
  withClient(url, (client) => client.query('select 1')).then(
    () => true,
    () => false,
  );

function run([program, ...args]: readonly string[]): void {
  // The test's own folder may be closed to the other account.
  execFileSync(program!, args, { stdio: ['ignore', 'ignore', 'inherit'], cwd: '/', ...account() });
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
