// The gateway's recipe before some addresses, made and ended for one test.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from './postgres-server.ts';

const recipe = fileURLToPath(new URL('../../ops/haproxy.cfg', import.meta.url));

/** For tests that need it: says why they are left out. */
export const withoutHaproxy =
  spawnSync('haproxy', ['-v']).status === 0 ? false : 'needs HAProxy: apt-get install haproxy';

/** @param servers three of them, as host:port @returns the gateway's URL */
export async function gatewayTo(t: TestContext, servers: readonly [string, string, string]): Promise<string> {
  const gateway = `127.0.0.1:${await freePort()}`;
  const [a, b, c] = servers;
  const addresses = { LORIKEET_SERVER_A: a, LORIKEET_SERVER_B: b, LORIKEET_SERVER_C: c };
  const env = { ...process.env, LORIKEET_GATEWAY: gateway, ...addresses };
  const check = spawnSync('haproxy', ['-c', '-f', recipe], { env });
  assert.equal(check.status, 0, check.stderr.toString());
  const haproxy = spawn('haproxy', ['-db', '-f', recipe], { env, stdio: 'ignore' });
  t.after(() => haproxy.kill('SIGKILL'));
  return `http://${gateway}`;
}
