// Starts a real server on the tiny model, which serves the console.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writePeftAdapter } from '../../src/formats/write-peft.ts';
import { randomPairs } from '../engine/adapters/random-adapters.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import { launchServer } from '../simulation/running-servers.ts';

export type ConsoleServer = {
  readonly url: string;
  readonly folder: string;
  /** CPU time of the server's own process in milliseconds; its engine is another process. */
  cpuMs(): number;
  close(): Promise<void>;
};

/** Milliseconds of a tick in Linux' /proc. */
const tickMs = 10;

export async function startConsoleServer(): Promise<ConsoleServer> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-console-'));
  // With the default priority a training would not end while other programs keep all cores busy.
  const server = launchServer(folder, { LORIKEET_TRAINING_PRIORITY: 'low' });
  const url = await server.url;
  if (url === null) throw new Error('the server did not start');
  return {
    url,
    folder,
    cpuMs() {
      const fields = readFileSync(`/proc/${server.pidOf('server')}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return (Number(fields[11]) + Number(fields[12])) * tickMs;
    },
    async close() {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const { shape } = await tinyModel('llama');
const modules = ['q_proj', 'v_proj'] as const;

/** The two files of an adapter on q and v, by name. `change` replaces fields of its config. */
export function adapterFiles(seed: number, change: Readonly<Record<string, unknown>> = {}): Record<string, Uint8Array> {
  const fields = { r: 4, lora_alpha: 8, target_modules: modules, ...change };
  const { config, weights } = writePeftAdapter(fields, randomPairs(shape, { seed, modules, r: 4 }));
  return { 'adapter_config.json': config, 'adapter_model.safetensors': weights };
}

export async function uploadTiny(url: string, name: string, seed: number, key?: string): Promise<void> {
  const form = new FormData();
  form.append('name', name);
  for (const [file, bytes] of Object.entries(adapterFiles(seed))) form.append(file, new Blob([bytes.slice()]), file);
  const headers: HeadersInit = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${url}/v1/adapters`, { method: 'POST', body: form, headers });
  if (!answer.ok) throw new Error(await answer.text());
}

export const rowsOf = (count: number): string =>
  Array.from({ length: count }, (_, i) => JSON.stringify({ prompt: `bird ${i}`, completion: ' lorikeet' })).join('\n');
