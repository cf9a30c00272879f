// The recipe for TLS and single sign-on: a valid token gets its tenant's key, and no other caller gets through.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { haproxy, startHaproxy } from '../helpers/gateways.ts';
import { freePort } from '../helpers/postgres-server.ts';
import { waitFor } from '../helpers/waits.ts';

const openssl = spawnSync('openssl', ['version']).status === 0;
const missing = haproxy.missing || (openssl ? false : 'needs openssl');

/** A server that answers with the headers it received. */
async function upstream(t: TestContext): Promise<string> {
  const server = createServer((request, response) => void response.end(JSON.stringify(request.headers)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: string };

function get(port: number, ca: Buffer, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // A refusal closes the connection, so each request has one of its own.
    const to = { host: '127.0.0.1', port, ca, servername: 'localhost', agent: false } as const;
    const asked = request({ ...to, path: '/v1/models', headers });
    asked.once('error', reject).once('response', async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode!, headers: response.headers, body });
    });
    asked.end();
  });
}

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

function token(key: KeyObject, claims: object, alg = 'RS256'): string {
  const signed = `${base64({ alg, typ: 'JWT' })}.${base64(claims)}`;
  return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), key).toString('base64url')}`;
}

test('TLS and single sign-on by HAProxy', { skip: missing }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-sign-on-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string) => join(folder, name);
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const files = ['-keyout', at('key.pem'), '-out', at('certificate.pem')];
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    ...subject,
    ...files,
  ]);
  assert.equal(made.status, 0, made.stderr.toString());
  const certificate = readFileSync(at('certificate.pem'));
  writeFileSync(at('site.pem'), Buffer.concat([certificate, readFileSync(at('key.pem'))]));
  const [issuer, stranger] = [1, 2].map(() => generateKeyPairSync('rsa', { modulusLength: 2048 }));
  writeFileSync(at('issuer.pem'), issuer!.publicKey.export({ type: 'spki', format: 'pem' }));
  writeFileSync(at('tenants'), 'acme key-of-acme\nglobex key-of-globex\n', { mode: 0o600 });
  const port = await freePort();
  startHaproxy(t, 'haproxy-sign-on.cfg', {
    LORIKEET_GATEWAY: `127.0.0.1:${port}`,
    LORIKEET_SERVER: await upstream(t),
    LORIKEET_CERTIFICATE: at('site.pem'),
    LORIKEET_ISSUER: 'https://id.example',
    LORIKEET_ISSUER_KEY: at('issuer.pem'),
    LORIKEET_AUDIENCE: 'lorikeet',
    LORIKEET_TENANT_KEYS: at('tenants'),
  });
  const ask = (authorization: string, headers: Record<string, string> = {}) =>
    get(port, certificate, { authorization: `Bearer ${authorization}`, ...headers });
  // Waits until the gateway listens and has checked the server once.
  await waitFor('it answers', async () => (await ask('own').catch(() => null))?.status === 200);

  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: 'https://id.example', aud: 'lorikeet', exp: now + 3600, tenant: 'acme' };
  const seen = await ask(token(issuer!.privateKey, claims), { 'x-api-key': 'other', 'x-lorikeet-tenant': 'globex' });
  assert.equal(seen.status, 200);
  const passed = JSON.parse(seen.body) as IncomingHttpHeaders;
  assert.equal(passed.authorization, 'Bearer key-of-acme');
  assert.deepEqual([passed['x-api-key'], passed['x-lorikeet-tenant']], [undefined, undefined]);
  assert.equal(passed['x-forwarded-for'], '127.0.0.1');
  assert.match(seen.headers['strict-transport-security'] ?? '', /max-age/);

  // Keys of the server itself pass unchanged.
  const own = JSON.parse((await ask('lk-own', { 'x-lorikeet-tenant': 'acme' })).body) as IncomingHttpHeaders;
  assert.deepEqual([own.authorization, own['x-lorikeet-tenant']], ['Bearer lk-own', 'acme']);

  for (const [what, wrong, status] of [
    ['another signer', token(stranger!.privateKey, claims), 401],
    ['expired', token(issuer!.privateKey, { ...claims, exp: now - 1 }), 401],
    ['without an end', token(issuer!.privateKey, { ...claims, exp: undefined }), 401],
    ['another issuer', token(issuer!.privateKey, { ...claims, iss: 'https://id.example.evil' }), 401],
    ['for another service', token(issuer!.privateKey, { ...claims, aud: 'other' }), 401],
    ['unsigned', `${base64({ alg: 'none' })}.${base64(claims)}.x`, 401],
    ['by another algorithm', token(issuer!.privateKey, claims, 'HS256'), 401],
    ['no token at all', 'a.b.c', 401],
    ['of no tenant', token(issuer!.privateKey, { ...claims, tenant: undefined }), 403],
    ['of an unknown tenant', token(issuer!.privateKey, { ...claims, tenant: 'acm' }), 403],
  ] as const) {
    assert.equal((await ask(wrong)).status, status, what);
  }
});
