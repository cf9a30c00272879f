// npm run test:servers [-- part of a path ...]: tests with a PostgreSQL and, where versitygw is installed, an S3.
// Starts both, runs the named tests on them, and removes them. Without names it runs all suites that use a database or
// a store.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startPostgres } from './postgres-server.ts';
import { startS3, versitygw } from './s3-server.ts';

const suites = ['test/contract/', 'test/registry/', 'test/jobs/', 'test/tenants/', 'test/storage/', 'test/servers/'];

const postgres = await startPostgres();
const program = versitygw();
const s3 = program === null ? null : await startS3(program);
if (s3 === null) process.stderr.write('There is no versitygw: tests of S3 are left out.\n');
try {
  const args = process.argv.slice(2);
  const named = args.some((arg) => !arg.startsWith('-')) ? args : [...args, ...suites];
  const script = fileURLToPath(new URL('../../scripts/test.js', import.meta.url));
  const child = spawn(process.execPath, [script, ...named], {
    stdio: 'inherit',
    env: {
      ...process.env,
      LORIKEET_TEST_POSTGRES: postgres.url(),
      ...(s3 === null ? {} : { LORIKEET_TEST_S3: s3.url, ...s3.env }),
    },
  });
  // On a signal the tests end first, so that the servers are removed afterwards.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
} finally {
  await s3?.remove();
  await postgres.remove();
}
