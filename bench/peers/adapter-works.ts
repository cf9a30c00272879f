// Concurrent requests, each on a different adapter, against both servers: making adapters, giving them to the server,
// load.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type AdapterFolder, buildSeededAdapter, seededAdapters } from '../../test/parity/seeded-adapter.ts';
import { type Heads, toGgufAdapter } from './gguf-adapter.ts';
import { llamaServerDialect, lorikeetDialect, withFields } from './http-load.ts';
import { type HttpSample, llamaServer, loadOf, ourServer, underLoad } from './http-works.ts';
import type { LlamaCpp } from './llama-cpp.ts';
import type { ServerCommand } from './running-server.ts';
import type { Setup } from './step-works.ts';

/** Heads of SmolLM2-135M, for which the seeded adapters are made. */
const heads: Heads = { heads: 9, kvHeads: 3 };

/**
 * Makes adapters with different random weights, r = 16 on all seven linears, in float16 like most published adapters.
 */
export function makeAdapters(count: number): AdapterFolder[] {
  const spec = seededAdapters.find(({ name }) => name === 'r16-all')!;
  return Array.from({ length: count }, (_, i) => buildSeededAdapter({ ...spec, type: 'F16', seed: 1000 + i }));
}

const nameOf = (index: number) => `bench-${index}`;

/**
 * Loads Lorikeet with one request for each adapter. All rounds use one folder, where the same upload gives the same
 * version.
 */
export function loadOursWithAdapters(
  setup: Setup,
  adapters: readonly AdapterFolder[],
  dataFolder: string,
  seed: number,
): Promise<HttpSample> {
  const dialect = withFields(lorikeetDialect, (index) => ({ adapter_id: nameOf(index % adapters.length) }));
  return underLoad(ourServer(setup, dataFolder), dialect, loadOf(setup), seed, async (url) => {
    for (const [i, adapter] of adapters.entries()) await upload(url, nameOf(i), adapter);
  });
}

export async function upload(url: string, name: string, { config, weights }: AdapterFolder): Promise<void> {
  const form = new FormData();
  form.set('name', name);
  form.set('adapter_config.json', new Blob([Uint8Array.from(config)]), 'adapter_config.json');
  form.set('adapter_model.safetensors', new Blob([Uint8Array.from(weights)]), 'adapter_model.safetensors');
  const response = await fetch(`${url}/v1/adapters`, { method: 'POST', body: form });
  if (!response.ok) throw new Error(`upload of ${name}: ${response.status} ${await response.text()}`);
}

/** Writes the adapters as GGUF files. Gives their paths in the same order. */
export function writeGgufAdapters(adapters: readonly AdapterFolder[], folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  return adapters.map((adapter, i) => {
    const path = join(folder, `${nameOf(i)}.gguf`);
    writeFileSync(path, toGgufAdapter(adapter, heads));
    return path;
  });
}

/**
 * Command of a llama-server with adapters that apply only to requests naming them: `lora: [{id, scale}]`, with ids in
 * the order of `files`.
 */
export function llamaServerWithAdapters(setup: Setup, llama: LlamaCpp, files: readonly string[]): ServerCommand {
  const { args, ...command } = llamaServer(setup, llama);
  return { ...command, args: (port) => [...args(port), '--lora', files.join(), '--lora-init-without-apply'] };
}

export function loadLlamaServerWithAdapters(
  setup: Setup,
  llama: LlamaCpp,
  files: readonly string[],
  seed: number,
): Promise<HttpSample> {
  const dialect = withFields(llamaServerDialect, (index) => ({ lora: [{ id: index % files.length, scale: 1 }] }));
  return underLoad(llamaServerWithAdapters(setup, llama, files), dialect, loadOf(setup), seed);
}
