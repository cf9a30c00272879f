// The clients of the HTTP benchmark, in a separate process so that their work is not counted as the server's. Given a
// port, a path and a body, the process reads that many answers at once to their ends and reports the bytes received.

import { request } from 'node:http';

export type ReadOrder = {
  readonly port: number;
  readonly path: string;
  readonly body: string;
  readonly readers: number;
};

function readOne({ port, path, body }: ReadOrder): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const asking = request({ port, host: '127.0.0.1', path, method: 'POST', headers, agent: false }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      answer.on('end', () => (answer.statusCode === 200 ? resolve(bytes) : reject(new Error(`${answer.statusCode}`))));
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

process.on('message', async (order: ReadOrder) => {
  const bytes = await Promise.all(Array.from({ length: order.readers }, () => readOne(order)));
  process.send?.(bytes.reduce((sum, value) => sum + value, 0));
});
