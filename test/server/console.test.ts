// The files that /console serves; test/console tests them in a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { testApp } from '../helpers/app.ts';

const firstViewBytesMax = 150_000;

test('the page needs no key, allows nothing but itself, and names files that are there', async (t) => {
  const { app, keys } = await testApp(t);
  await keys.create({ tenant: 'acme', name: '', scopes: ['generate'] });
  assert.deepEqual((await app.inject('/console')).headers.location, '/console/');
  const page = await app.inject('/console/');
  assert.equal(page.statusCode, 200);
  assert.match(String(page.headers['content-security-policy']), /^default-src 'none'; script-src 'self' 'sha256-/);
  const named = [...page.body.matchAll(/(?:src|href)="(assets\/[^"]+)"/g)].map(([, address]) => address!);
  assert.ok(named.length > 20);
  let bytes = page.body.length;
  for (const address of new Set(named)) {
    const url = `/console/${address}`;
    const packed = await app.inject({ url, headers: { 'accept-encoding': 'gzip, br' } });
    assert.deepEqual([packed.statusCode, packed.headers['content-encoding']], [200, 'gzip'], url);
    const plain = await app.inject(url);
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.ok(gunzipSync(packed.rawPayload).equals(plain.rawPayload));
    bytes += packed.rawPayload.length;
  }
  t.diagnostic(`the first view is ${bytes} bytes`);
  assert.ok(bytes <= firstViewBytesMax, `${bytes}`);
});

test('every import of a served file is a served file', async (t) => {
  const { app } = await testApp(t);
  const { body } = await app.inject('/console/');
  const { imports } = JSON.parse(/<script type="importmap">(.*)<\/script>/.exec(body)![1]!) as {
    imports: Record<string, string>;
  };
  const left = [new URL(/src="(assets[^"]+)"/.exec(body)![1]!, 'http://x/console/').pathname];
  const seen = new Set<string>();
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const file = await app.inject(path);
    assert.equal(file.statusCode, 200, path);
    assert.match(String(file.headers['content-type']), /^text\/javascript/);
    if (path.includes('/lib/')) continue;
    for (const [, name] of file.body.matchAll(/(?:\bfrom |\bimport\()'([^'\n]+)'/g)) {
      const address = name!.startsWith('.') ? name! : imports[name!];
      assert.ok(address, `${path} imports ${name}`);
      left.push(new URL(address, name!.startsWith('.') ? `http://x${path}` : 'http://x/console/').pathname);
    }
  }
  assert.ok(seen.size > 80, `${seen.size} files`);
});

test('nothing else is served', async (t) => {
  const { app } = await testApp(t);
  const { body } = await app.inject('/console/');
  const at = `/console/${/assets\/[0-9a-f]+\//.exec(body)![0]}`;
  const others = ['tsconfig.json', '../main.ts', '%2e%2e/main.ts', '..%2fmain.ts', 'styles/1-tokens.css', ''];
  for (const name of others) assert.equal((await app.inject(at + name)).statusCode, 404, name);
});
