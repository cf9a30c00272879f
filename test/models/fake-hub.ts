// A hub on loopback: one repository with one commit, and faults on demand.

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export const repo = 'birds/tiny';
export const commit = 'c0ffee'.padEnd(40, '0');

export type FakeHub = {
  endpoint: string;
  files: Record<string, Buffer>;
  /** `GET path range` of every file asked for. */
  requests: string[];
  authorization: (string | undefined)[];
  faults: {
    /** Bytes of an answer after which the connection is closed; each answer takes the first entry off the list. */
    cutAfter: number[];
    ignoreRanges?: boolean;
    status?: number;
    /** Bytes sent in each tick of 20 ms. */
    drip?: number;
    /** Announces the right digest, but sends other bytes. */
    lie?: boolean;
  };
};

/** Files larger than this are named by SHA-256, smaller ones by git's own digest, as on the real hub. */
const largeBytes = 1000;

export async function fakeHub(context: TestContext, files: Record<string, Buffer>): Promise<FakeHub> {
  const hub: FakeHub = { endpoint: '', files, requests: [], authorization: [], faults: { cutAfter: [] } };
  const server = createServer((request, response) => answer(hub, request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  hub.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return hub;
}

function answer(hub: FakeHub, request: IncomingMessage, response: ServerResponse): void {
  const path = new URL(request.url!, hub.endpoint).pathname;
  const name = path.startsWith(`/${repo}/resolve/${commit}/`) ? path.split('/').at(-1)! : '';
  const file = hub.files[name];
  hub.authorization.push(request.headers.authorization);
  if (hub.faults.status !== undefined) {
    response.writeHead(hub.faults.status).end();
  } else if (path === `/api/models/${repo}/revision/main`) {
    sendJson(response, { id: repo, sha: commit });
  } else if (path === `/api/models/${repo}/tree/${commit}`) {
    sendJson(response, tree(hub));
  } else if (file === undefined) {
    response.writeHead(404).end();
  } else {
    hub.requests.push(`${name} ${request.headers.range ?? ''}`.trim());
    void sendFile(hub, file, request, response);
  }
}

function tree({ files }: FakeHub) {
  return Object.entries(files).map(([path, content]) => {
    const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
    const sha256 = createHash('sha256').update(content).digest('hex');
    const lfs = content.length > largeBytes ? { lfs: { oid: sha256, size: content.length, pointerSize: 130 } } : {};
    return { type: 'file', path, size: content.length, oid, ...lfs };
  });
}

async function sendFile(hub: FakeHub, file: Buffer, request: IncomingMessage, response: ServerResponse) {
  const start = hub.faults.ignoreRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const sent = hub.faults.lie ? Buffer.alloc(file.length, 1) : file;
  const status = request.headers.range === undefined || hub.faults.ignoreRanges ? 200 : 206;
  response.writeHead(status, { 'content-length': file.length - start });
  const cut = hub.faults.cutAfter.shift();
  const body = sent.subarray(start, cut === undefined ? undefined : start + cut);
  const step = hub.faults.drip ?? body.length;
  for (let at = 0; at < body.length && !response.destroyed; at += step) {
    response.write(body.subarray(at, at + step));
    if (hub.faults.drip !== undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // What was written must have left before the connection breaks.
  if (cut === undefined) response.end();
  else setTimeout(() => response.destroy(), 20);
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
