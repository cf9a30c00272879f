// Two thousand idle or stuck connections of one key, which are opened again whenever the server closes them. Measures
// how long another tenant's answers take meanwhile, and the memory that the connections hold.

import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { promptOf } from '../prompt-of.ts';
import { quantile } from '../statistics.ts';
import { ask, type StrainedServer } from './server.ts';

const answerTokens = 16;
const reopenMs = 200;

export type ConnectionOptions = { readonly connections: number; readonly asks: number; readonly rounds: number };

/** Requests of which each connection sends one, and then nothing more. No connection reads its answer. */
function beginnings(key: string): string[] {
  const head = (path: string, more: string) =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n${more}`;
  const body = JSON.stringify({ prompt: 'x', max_tokens: 1, stream: true, ignore_eos: true });
  return [
    `GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n\r\n`,
    head('/v1/generate', ''),
    `${head('/v1/generate', 'content-length: 20000\r\n\r\n')}{"prompt":"${'x'.repeat(5000)}`,
    `${head('/v1/generate', `content-length: ${body.length}\r\n\r\n`)}${body}`,
  ];
}

function hold({ port, keys }: StrainedServer, count: number) {
  const texts = beginnings(keys[0]);
  const sockets = new Set<Socket>();
  let [isOver, opened] = [false, 0];
  const open = (i: number) => {
    if (isOver) return;
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    opened++;
    sockets.add(socket);
    socket.pause();
    socket.on('error', () => {});
    socket.write(texts[i % texts.length]!);
    socket.once('close', () => {
      sockets.delete(socket);
      setTimeout(() => open(i), reopenMs);
    });
  };
  for (let i = 0; i < count; i++) open(i);
  return {
    held: () => [...sockets].filter(({ connecting }) => !connecting).length,
    opened: () => opened,
    letGo() {
      isOver = true;
      for (const socket of sockets) socket.destroy();
    },
  };
}

type Round = {
  /**
   * Another tenant's answers: median and 90th percentile of their time, and processor time of server and engine for
   * each, in milliseconds.
   */
  readonly alone: readonly [number, number, number];
  readonly beside: readonly [number, number, number];
  /** Resident memory of the server, MiB. */
  readonly before: number;
  readonly during: number;
  readonly after: number;
  readonly held: number;
  readonly opened: number;
};

export async function measureConnections(server: StrainedServer, { connections, asks, rounds }: ConnectionOptions) {
  let seed = 5e6;
  const visit = async () => {
    const times: number[] = [];
    const before = server.cpuMs();
    for (let i = 0; i < asks; i++) {
      const { status, ms } = await ask(server, server.keys[1], {
        prompt: promptOf(seed++, 32),
        max_tokens: answerTokens,
      });
      if (status !== 200) throw new Error(`another tenant is answered ${status}`);
      times.push(ms);
    }
    const after = server.cpuMs();
    const cpu = (after.server - before.server + after.engine - before.engine) / asks;
    return [quantile(times, 0.5), quantile(times, 0.9), cpu] as const;
  };
  await visit();
  const rows: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const alone = await visit();
    const before = server.memory().server;
    const crowd = hold(server, connections);
    // After this wait all connections are open, and their complete requests are answered.
    await wait(8000);
    const beside = await visit();
    const during = server.memory().server;
    const [held, opened] = [crowd.held(), crowd.opened()];
    crowd.letGo();
    await wait(2000);
    rows.push({ alone, beside, before, during, after: server.memory().server, held, opened });
    console.log(
      `round ${round + 1}: ${held} held, ${opened} opened; p50 ${alone[0].toFixed(0)} to ${beside[0].toFixed(0)} ms ` +
        `(${(beside[0] / alone[0]).toFixed(2)}), p90 ${alone[1].toFixed(0)} to ${beside[1].toFixed(0)} ms ` +
        `(${(beside[1] / alone[1]).toFixed(2)}), processor ${alone[2].toFixed(0)} to ${beside[2].toFixed(0)} ms; ` +
        `server ${before}, ${during}, then ${rows.at(-1)!.after} MiB`,
    );
  }
  const ratios = [0, 1, 2].map((i) =>
    quantile(
      rows.map(({ alone, beside }) => beside[i]! / alone[i]!),
      0.5,
    ),
  );
  const [p50, p90, cpu] = ratios.map((ratio) => ratio.toFixed(2));
  console.log(`medians of the ratios: p50 ${p50}, p90 ${p90}, processor ${cpu}`);
  return { connections, ratios, rows };
}
