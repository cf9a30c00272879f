// A Lorikeet server with adapters for measuring: starting it on a folder, uploading, streaming.

import { buildSeededAdapter, seededAdapters } from '../../test/parity/seeded-adapter.ts';
import { upload } from '../peers/adapter-works.ts';
import { ourServer } from '../peers/http-works.ts';
import { type RunningServer, startServer } from '../peers/running-server.ts';
import type { Setup } from '../peers/step-works.ts';

export type Size = { readonly adapters: number; readonly rounds: number };

export const nameOf = (index: number) => `many-${index}`;

/** Makes adapter number `index`: r = 8 on q and v in float16, as small adapters are published. 0.9 MB. */
export function makeAdapter(index: number) {
  const spec = seededAdapters.find(({ name }) => name === 'r4-qv-f16')!;
  return buildSeededAdapter({ ...spec, seed: 10_000 + index });
}

export function startOurs(setup: Setup, folder: string, flags: readonly string[] = []): Promise<RunningServer> {
  const { args, ...command } = ourServer(setup, folder);
  return startServer({ ...command, args: (port) => [...args(port), ...flags] });
}

export async function register(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await upload(url, nameOf(i), makeAdapter(i));
}

export type Asked = {
  /** Milliseconds from sending to the first token, and between tokens. */
  readonly ttftMs: number;
  readonly gapsMs: readonly number[];
};

/** Streams one generation of exactly `tokens` tokens. */
export async function ask(
  url: string,
  body: { prompt: readonly number[]; adapter_id?: string },
  tokens: number,
): Promise<Asked> {
  const sent = performance.now();
  const response = await fetch(`${url}/v1/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  const times: number[] = [];
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    const events = decoder.decode(chunk, { stream: true }).split('data: {"token"').length - 1;
    for (let i = 0; i < events; i++) times.push(performance.now());
  }
  if (times.length < tokens) throw new Error(`${times.length} tokens instead of ${tokens}`);
  return { ttftMs: times[0]! - sent, gapsMs: times.slice(1).map((time, i) => time - times[i]!) };
}

/** Runs `work(i)` for all i below `count`, `atOnce` at a time. @returns tokens a second where each makes `tokens` */
export async function throughput(
  count: number,
  atOnce: number,
  tokens: number,
  work: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const began = performance.now();
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return (1000 * count * tokens) / (performance.now() - began);
}
