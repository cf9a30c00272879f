// npm run test:servers [-- part of a path ...]: tests against servers that many replicas share. Starts a PostgreSQL,
// runs what is named on it, and removes it. Without names: all suites that know a database.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startPostgres } from './postgres-server.ts';

const suites = ['test/contract/', 'test/registry/', 'test/jobs/', 'test/tenants/', 'test/storage/', 'test/servers/'];

const postgres = await startPostgres();
try {
  const args = process.argv.slice(2);
  const named = args.some((arg) => !arg.startsWith('-')) ? args : [...args, ...suites];
  const script = fileURLToPath(new URL('../../scripts/test.js', import.meta.url));
  const child = spawn(process.execPath, [script, ...named], {
    stdio: 'inherit',
    env: { ...process.env, LORIKEET_TEST_POSTGRES: postgres.url() },
  });
  // Stopped from outside, it still removes what it has started.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
} finally {
  await postgres.remove();
}
