// Servers in processes of their own over one PostgreSQL and one S3, each with its own port and folder, and requests to
// them.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import { launchServer, type ServerProcess } from '../simulation/running-servers.ts';
import { freePort } from './postgres-server.ts';
import { waitFor, waitMsMax, within } from './waits.ts';

export type Place = { server: ServerProcess; readonly port: number; readonly url: string; start(): void };

/** The admin key of all servers: behind a proxy they accept no request without a key. */
export const adminKey = 'the-admin-key';

/**
 * Starts a server for each environment.
 * @param envs one for each server
 * @param release another checkout of the project, whose server is started instead
 */
export async function fleet(
  t: TestContext,
  envs: readonly Readonly<Record<string, string>>[],
  release?: string,
): Promise<Place[]> {
  const places: Place[] = [];
  for (const own of envs) {
    const env = {
      LORIKEET_ADMIN_KEY: adminKey,
      AWS_ACCESS_KEY_ID: process.env.AWS_ACCESS_KEY_ID ?? '',
      AWS_SECRET_ACCESS_KEY: process.env.AWS_SECRET_ACCESS_KEY ?? '',
      ...own,
    };
    const folder = mkdtempSync(join(tmpdir(), 'lorikeet-fleet-'));
    const port = await freePort();
    const start = () => launchServer(folder, env, port, release);
    const place: Place = {
      server: start(),
      port,
      url: `http://127.0.0.1:${port}`,
      start() {
        place.server = start();
      },
    };
    places.push(place);
    t.after(async () => {
      await place.server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
  }
  for (const { server, url } of places) assert.equal(await within(`${url} is ready`, server.url), url);
  return places;
}

/** An error that names the request and has the stack of its caller; fetch's own errors have neither. */
export class NoAnswer extends Error {}

/** Tries of a request that the server answers with 408. */
const triesMax = 3;

export async function ask(url: string, init: RequestInit = {}, key = adminKey, tries = 1): Promise<Response> {
  // Each request has a connection of its own: after a pause of the whole machine, a server closes idle connections at
  // the moment in which they are used again.
  const headers = { ...init.headers, connection: 'close', authorization: `Bearer ${key}` };
  try {
    // The time limit covers the body too.
    const answer = await fetch(url, { signal: AbortSignal.timeout(waitMsMax), ...init, headers });
    // The machine paused between the connection and the request's first byte.
    if (answer.status === 408 && tries < triesMax) return await ask(url, init, key, tries + 1);
    return answer;
  } catch (error) {
    if (error instanceof NoAnswer) throw error;
    throw new NoAnswer(`${init.method ?? 'GET'} ${url} got no answer`, { cause: error });
  }
}

// biome-ignore lint/suspicious/noExplicitAny: answers of many routes
export async function json(url: string, init?: RequestInit, key?: string): Promise<any> {
  const answer = await ask(url, init, key);
  const text = await answer.text();
  assert.ok(answer.ok, text);
  return JSON.parse(text);
}

export const jsonBody = (method: string, body: object) => ({
  method,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

export const post = (url: string, body: object, key?: string) => json(url, jsonBody('POST', body), key);

export async function generate(url: string, adapter: string, key?: string) {
  const body = { prompt: 'a', adapter_id: adapter, max_tokens: 4, temperature: 0 };
  const answer = await post(`${url}/v1/generate`, body, key);
  return { adapter: answer.adapter, text: answer.text };
}

/** Result of a change: what the server says it made, or its refusal. */
export type Tried = { readonly status: number; readonly code: string; readonly id: string; readonly digest: string };

export async function tried(asked: Promise<Response>): Promise<Tried> {
  const answer = await asked;
  const { error, id = '', digest = '' } = JSON.parse(await answer.text());
  return { status: answer.status, code: error?.code ?? '', id, digest };
}

export function upload(url: string, name: string, { config, weights }: AdapterFiles, key?: string): Promise<Tried> {
  const form = new FormData();
  form.set('name', name);
  form.set('adapter_config.json', new Blob([readFileSync(config)]), 'adapter_config.json');
  form.set('adapter_model.safetensors', new Blob([readFileSync(weights)]), 'adapter_model.safetensors');
  return tried(ask(`${url}/v1/adapters`, { method: 'POST', body: form }, key));
}

/** Waits until a server is ready, or until a gateway has found one that is. */
export const untilReady = (url: string): Promise<void> =>
  waitFor(`${url} is ready`, async () => (await ask(`${url}/readyz`).catch(() => null))?.status === 200);

export const moveAlias = (url: string, name: string, version: number, key?: string): Promise<Tried> =>
  tried(ask(`${url}/v1/adapters/${name}/aliases/prod`, jsonBody('PUT', { targets: [{ version, weight: 1 }] }), key));
