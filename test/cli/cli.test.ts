import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json as readJson } from 'node:stream/consumers';
import test, { after, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cliIn } from '../helpers/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-cli-'));
after(() => rmSync(folder, { recursive: true }));

const run = cliIn(folder);

test('help names every command, and each command its settings', async () => {
  const { code, stdout } = await run([]);
  assert.equal(code, 0);
  for (const name of [
    'serve',
    'generate',
    'adapters',
    'train',
    'jobs',
    'fetch',
    'keys',
    'config',
    'doctor',
    'version',
  ]) {
    assert.match(stdout, new RegExp(`lorikeet ${name}`));
    const help = await run([name, '--help']);
    assert.deepEqual([help.code, help.stderr], [0, '']);
  }
  assert.match((await run(['help', 'serve'])).stdout, /--max-num-seqs/);
});

test('a wrong command line is one line and exit code 2', async () => {
  for (const args of [
    ['serv'],
    ['serve', '--prot', '1'],
    ['config', 'extra'],
    ['config', '--port'],
    ['keys', 'steal'],
    ['adapters'],
    ['adapters', 'steal'],
    ['adapters', 'push'],
    ['adapters', 'rm', 'a@b'],
    ['adapters', 'alias', 'a', 'prod', 'new'],
    ['adapters', 'alias', 'a', 'prod'],
    ['adapters', 'push', 'no-such-folder'],
  ]) {
    const { code, stdout, stderr } = await run(args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /^lorikeet: .+\n$/);
  }
});

test('a wrong configuration is one line and exit code 2, in JSON where asked', async () => {
  const env = { LORIKEET_PORT: 'x' };
  assert.match((await run(['config'], { env })).stderr, /^lorikeet: LORIKEET_PORT must be .+\n$/);
  const { code, stdout, stderr } = await run(['config', '--json'], { env });
  assert.deepEqual([code, stderr, JSON.parse(stdout).error.code], [2, '', 'invalid_config']);
});

test('config shows origins and masks secrets', async () => {
  const env = { LORIKEET_ADMIN_KEY: 'open-sesame-open', LORIKEET_PORT: '9', LORIKEET_PROT: '1' };
  const { stdout } = await run(['config', '--host', 'localhost'], { env });
  assert.match(stdout, /LORIKEET_PORT +9 +LORIKEET_PORT\n/);
  assert.match(stdout, /LORIKEET_HOST +localhost +--host\n/);
  assert.match(stdout, /LORIKEET_ADMIN_KEY +\*{8} +LORIKEET_ADMIN_KEY\n/);
  assert.match(stdout, /LORIKEET_PROT is set, but is no setting/);
  const asJson = (await run(['config', '--json'], { env })).stdout;
  assert.deepEqual(JSON.parse(asJson).port, { env: 'LORIKEET_PORT', value: 9, shown: '9', origin: 'LORIKEET_PORT' });
  assert.doesNotMatch(stdout + asJson, /sesame/);
});

test('keys are made, listed without their secret, and revoked once', async () => {
  const env = { LORIKEET_DATA_DIR: join(folder, 'keys') };
  assert.match((await run(['keys', 'list'], { env })).stdout, /No keys/);
  const args = ['keys', 'create', '--tenant', 'acme', '--scopes', 'generate,metrics', '--json'];
  const { key, prefix } = JSON.parse((await run(args, { env })).stdout);
  assert.match(key, new RegExp(`^lk_${prefix}_`));
  const listed = await run(['keys', 'list'], { env });
  assert.match(listed.stdout, new RegExp(`^${prefix} +acme +generate,metrics`));
  assert.ok(!listed.stdout.includes(key.slice(-20)));
  const revoked = await run(['keys', 'revoke', prefix], { env });
  assert.equal(revoked.code, 0);
  // Revoking the last key says that the server stays closed.
  assert.match(revoked.stdout, /is revoked\.\nNo key is left, and the server stays closed/);
  assert.equal((await run(['keys', 'revoke', prefix], { env })).code, 1);
  assert.equal((await run(['keys', 'create', '--scopes', 'everything'], { env })).code, 2);
  // A further key without --scopes may only generate; a server's first key may do what its owner needs.
  const next = await run(['keys', 'create', '--tenant', 'acme'], { env });
  assert.match(next.stderr, /It may generate, as tenant acme;/);
  const first = await run(['keys', 'create'], { env: { LORIKEET_DATA_DIR: join(folder, 'first') } });
  assert.match(first.stderr, /It may generate, adapters, train, as tenant default;/);
  const help = (await run(['keys', 'create', '--help'])).stdout;
  assert.match(help, /--data-dir/);
  assert.doesNotMatch(help, /--weight-bits/);
});

test('version and doctor say what is there', async () => {
  const version = JSON.parse((await run(['version', '--json'])).stdout);
  assert.equal(version.node, process.versions.node);
  const env = { HF_HUB_OFFLINE: '1', LORIKEET_PORT: '0' };
  const { code, stdout } = await run(['doctor', '--json'], { env });
  const findings = JSON.parse(stdout) as { check: string; status: string; detail: string }[];
  assert.equal(code, 0, stdout);
  assert.match(findings.find(({ check }) => check === 'ONNX Runtime')!.detail, /onnxruntime \d/);
});

test('doctor finds a taken port, a library that is none and a data dir that is a file', async (context) => {
  const { port } = await fakeServer(context, () => ({}));
  const env = { HF_HUB_OFFLINE: '1', LORIKEET_PORT: String(port), LORIKEET_ORT_LIBRARY: import.meta.filename };
  const chosen = { LORIKEET_TRAINING_DEVICE: 'cuda:1' };
  const { code, stdout } = await run(['doctor'], {
    env: { ...env, ...chosen, LORIKEET_DATA_DIR: import.meta.filename },
  });
  assert.equal(code, 1);
  assert.match(stdout, /failed +port .*EADDRINUSE/);
  assert.match(stdout, /failed +ONNX Runtime/);
  assert.match(stdout, /failed +data dir/);
  assert.match(stdout, /failed +cuda/);
});

type Answer = { status?: number; events?: readonly string[]; body?: unknown };
type Seen = { readonly port: number; body: Record<string, unknown>; authorization: string | undefined };

async function fakeServer(context: TestContext, answer: () => Answer): Promise<Seen> {
  const seen = { port: 0, body: {}, authorization: undefined as string | undefined };
  const server = createServer(async (request, response) => {
    seen.body = (await readJson(request).catch(() => ({}))) as Record<string, unknown>;
    seen.authorization = request.headers.authorization;
    const { status = 200, events, body } = answer();
    response.statusCode = status;
    response.end(events === undefined ? JSON.stringify(body) : events.map((event) => `data: ${event}\n\n`).join(''));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => server.close());
  seen.port = (server.address() as AddressInfo).port;
  return seen;
}

const whole = { text: ' Paris', finish_reason: 'length', usage: { prompt_tokens: 5, completion_tokens: 1 } };
const tokens = ['{"token":{"id":1,"text":" Par","logprob":null}}', '{"token":{"id":2,"text":"is","logprob":null}}'];
const answered = [...tokens, JSON.stringify(whole), '[DONE]'];

test('generate sends what the flags say and prints the text as it comes', async (context) => {
  const seen = await fakeServer(context, () => ({ events: answered }));
  const args = ['generate', 'The capital of France is', '--port', String(seen.port), '--max-tokens', '8', '--key', 'k'];
  const { code, stdout } = await run([...args, '--temperature', '0', '--stop', 'a', '--stop', 'b']);
  assert.deepEqual([code, stdout], [0, ' Paris\n']);
  const prompt = 'The capital of France is';
  assert.deepEqual(seen.body, { prompt, max_tokens: 8, temperature: 0, stop: ['a', 'b'], stream: true });
  assert.equal(seen.authorization, 'Bearer k');
});

test('generate takes the prompt from stdin, sends messages, and prints the whole answer as JSON', async (context) => {
  const seen = await fakeServer(context, () => ({ events: answered }));
  const url = `http://127.0.0.1:${seen.port}/`;
  const { stdout } = await run(['generate', '--url', url, '--system', 'Be brief.', '--json'], { stdin: 'Where?\n' });
  assert.deepEqual(JSON.parse(stdout), whole);
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Where?' },
  ];
  assert.deepEqual(seen.body, { messages, stream: true });
});

test('generate says what went wrong: refused, failed in the middle, cut off, not there, no number', async (context) => {
  let answer: Answer = { status: 401, body: { error: { message: 'No valid API key.', code: 'invalid_api_key' } } };
  const { port } = await fakeServer(context, () => answer);
  const ask = (...more: string[]) => run(['generate', 'x', '--port', String(port), ...more]);
  const refused = await ask();
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /No valid API key. \(invalid_api_key\)\n.*LORIKEET_API_KEY/);
  answer = { status: 503, body: { error: { message: 'Full.', code: 'server_overloaded' } } };
  assert.equal((await ask()).code, 3);
  answer = { events: [tokens[0]!, '{"error":{"message":"The engine died.","code":"engine_failed"}}'] };
  const failed = await ask();
  assert.deepEqual([failed.code, failed.stdout], [1, ' Par']);
  assert.match(failed.stderr, /The engine died/);
  answer = { events: tokens };
  assert.equal((await ask()).code, 3);
  assert.equal((await ask('--max-tokens', 'many')).code, 2);
  const absent = await run(['generate', 'x', '--url', 'http://127.0.0.1:1']);
  assert.equal(absent.code, 3);
  assert.match(absent.stderr, /No server answers .*`npm start`/);
});

test('a device that is not there is told before a model is fetched for it', async () => {
  const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
  const args = ['serve', '--device', 'cuda:99', '--model', 'hf:no/where', '--port', '0'];
  const env = { ...process.env, LORIKEET_DATA_DIR: join(folder, 'device'), HF_HOME: folder, HF_HUB_OFFLINE: '1' };
  const failed = promisify(execFile)(process.execPath, [main, ...args], { env, timeout: 120_000 });
  const { stderr, code } = await failed.then(
    () => assert.fail('it serves'),
    (error: { stderr: string; code: number }) => error,
  );
  assert.equal(code, 1);
  assert.match(stderr, /^lorikeet: The device cuda(:99)? is not available/m);
  assert.doesNotMatch(stderr, /no\/where/);
});
