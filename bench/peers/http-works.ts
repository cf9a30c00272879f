// Runs both servers under concurrent requests: start, warm up, load, stop.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Dialect, type Load, type LoadResult, llamaServerDialect, lorikeetDialect, runLoad } from './http-load.ts';
import type { LlamaCpp } from './llama-cpp.ts';
import { type ServerCommand, startServer } from './running-server.ts';
import { llamaCppFlags, type Setup } from './step-works.ts';

export const loadOf = ({ requests, promptTokens, isMixed = false }: Setup): Load => ({
  ...{ requests, promptTokens, isMixed, newTokens: 64 },
});

export type HttpSample = LoadResult & { readonly peakRssBytes: number };

/** Makes one temporary data folder for all rounds, so that only the first start lowers weights. */
export function withDataFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-peers-'));
  return use(folder).finally(() => rmSync(folder, { recursive: true, force: true }));
}

export const loadOurs = (setup: Setup, dataFolder: string, seed: number) =>
  underLoad(ourServer(setup, dataFolder), lorikeetDialect, loadOf(setup), seed);

export const loadLlamaServer = (setup: Setup, llama: LlamaCpp, seed: number) =>
  underLoad(llamaServer(setup, llama), llamaServerDialect, loadOf(setup), seed);

export function ourServer(setup: Setup, dataFolder: string): ServerCommand {
  const { model, threads } = setup;
  const script = fileURLToPath(new URL('../../scripts/lorikeet.js', import.meta.url));
  const sizes = ['--threads', String(threads), '--max-sequences', String(Math.max(16, loadOf(setup).requests))];
  const args = (port: number) => [
    ...[script, 'serve', '--model', model, '--port', String(port)],
    ...[...sizes, '--data-dir', dataFolder, '--log-level', 'warn'],
  ];
  return { command: process.execPath, args, ready: '/readyz' };
}

export function llamaServer(setup: Setup, llama: LlamaCpp): ServerCommand {
  const { model, threads } = setup;
  const { requests, promptTokens, newTokens, isMixed } = loadOf(setup);
  const slots = setup.slots ?? requests;
  // llama-server divides the positions equally, so that each slot must hold the longest request.
  const positions = slots * ((isMixed ? 2 : 1) * (promptTokens + newTokens) + 1);
  const sizes = ['-t', String(threads), '-np', String(slots), '-c', String(positions)];
  const args = (port: number) => ['-m', model, '--port', String(port), ...sizes, ...llamaCppFlags];
  return { command: llama.server, args, ready: '/health' };
}

/** Runs the load. `prepare` gives the running server what it needs, and is not measured. */
export async function underLoad(
  command: ServerCommand,
  dialect: Dialect,
  load: Load,
  seed: number,
  prepare: (url: string) => Promise<void> = async () => {},
): Promise<HttpSample> {
  const server = await startServer(command);
  let peakRssBytes = 0;
  const result = await (async () => {
    await prepare(server.url);
    await runLoad(server.url, dialect, { ...load, newTokens: 8 }, seed + 1);
    return runLoad(server.url, dialect, load, seed);
  })().finally(async () => {
    peakRssBytes = await server.stop();
  });
  return { ...result, peakRssBytes };
}
