// npm run bench:soak [-- --disconnects 10000 --minutes 60]: checks that memory and descriptors do not grow while
// callers leave in the middle of bodies, streams and uploads. The server is on fakes in a process of its own. Prints a
// row for each tenth. Callers come as fast as they can, or spread evenly over the minutes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { disconnects: { type: 'string', default: '10000' }, minutes: { type: 'string', default: '0' } },
});
const disconnects = Number(values.disconnects);
/** Concurrent callers. */
const width = 32;
const msOfCrowd = (Number(values.minutes) * 60_000 * width) / disconnects;

const entry = fileURLToPath(new URL('../test/contract/serve-fakes.ts', import.meta.url));
const args = ['--disable-warning=ExperimentalWarning', '--expose-gc', entry];
const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
const [line] = (await once(child.stdout, 'data')) as [Buffer];
const { url, key } = JSON.parse(String(line)) as { url: string; key: string };
const port = Number(new URL(url).port);

const head = (method: string, path: string, more: string) =>
  `${method} ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n${more}\r\n`;
const json = (body: string, bytes = body.length) => `content-type: application/json\r\ncontent-length: ${bytes}\r\n`;
const stream = '{"prompt":"x","stream":true,"max_tokens":4000,"ignore_eos":true}';
const upload = `content-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n`;
const part = `--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n{"prompt":`;
const requests = [
  head('POST', '/v1/generate', json(stream)) + stream,
  `${head('POST', '/v1/generate', json('', 1000))}{"prompt":"x`,
  head('POST', '/v1/files', upload) + part,
  'GET /v1/mod',
];

function leave(i: number): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {}).once('close', () => resolve());
    socket.write(requests[i % requests.length]!);
    setTimeout(() => socket.destroy(), (i * 7) % 40);
  });
}

/** Bytes on the heap between requests, in MiB. */
async function heap(): Promise<number> {
  child.kill('SIGUSR2');
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return (JSON.parse(String(line)) as { heapBytes: number }).heapBytes / 2 ** 20;
}

function row(done: number, heapMiB: number): string {
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
  const rss = Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024;
  const descriptors = readdirSync(`/proc/${child.pid}/fd`).length;
  const memory = `${rss.toFixed(0).padStart(6)} MiB`;
  const kept = `${heapMiB.toFixed(1).padStart(6)} MiB`;
  return `${String(done).padStart(8)}  ${kept}  ${memory}  ${String(descriptors).padStart(5)} descriptors`;
}

console.log('    left  heap        resident    descriptors');
for (let done = 0; done < disconnects; ) {
  for (const until = done + disconnects / 10; done < until; done += width) {
    const next = wait(msOfCrowd);
    await Promise.all(Array.from({ length: width }, (_, i) => leave(done + i)));
    await next;
  }
  await wait(500);
  console.log(row(done, await heap()));
}
child.stdin.end();
const [code] = (await once(child, 'exit')) as [number];
console.log(code === 0 ? 'no error in the log' : `the log has errors (${code})`);
process.exitCode = code;
