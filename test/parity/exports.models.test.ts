// The pirate merged into the real model, exported in both formats by the real process, opened again as any model is,
// and asked what the base with the adapter beside it is asked.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { unpackTar } from 'modern-tar/fs';
import { environmentForChildren } from '../../src/config.ts';
import type { AdapterFiles, AppliedAdapter } from '../../src/core/adapter.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';
import { readGguf } from '../../src/models/read-gguf.ts';
import { resolveModel } from '../../src/models/resolve.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { SequenceEnd, TokenEvent } from '../../src/protocol/messages.ts';
import { offlineClient } from '../../src/protocol/offline-process.ts';
import { superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { greedy } from '../engine/witnesses.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { corpus } from '../tokenizer/fixtures.ts';
import { readAdapterCases } from './adapters.ts';
import { firstDifference } from './greedy.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-exports-'));
after(() => rmSync(folder, { recursive: true }));

const env = environmentForChildren(process.env);
const silent = { info() {}, warn() {}, error() {} };
const base = await realModelFiles();
const { prompts } = readAdapterCases().find(({ name }) => name === 'pirate')!;

function pirate(): AdapterFiles {
  const path = (file: string) => fileURLToPath(new URL(`../../adapters/pirate/${file}`, import.meta.url));
  const [config, weights] = [path('adapter_config.json'), path('adapter_model.safetensors')];
  const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
  return { config, weights, digest: adapterDigest(sha256(config), sha256(weights)) };
}

type Said = { readonly tokens: number[]; readonly leads: number[] };

/**
 * Greedy tokens after each prompt and how far each led the second, by an engine's process of its own: once with each of
 * `applied`. Activations are not rounded, which would decide near-ties by itself.
 */
async function say(model: ModelFiles, weightBits: 32 | null, applied: readonly (readonly AppliedAdapter[])[]) {
  const engine = superviseEngine({
    startProcess: engineProcessStarter(new URL('../../src/engine/main.ts', import.meta.url), env),
    configs: [
      {
        ...{ model, weightBits, decodeActivations: 'int16', device: 'cpu', ortLibrary: null, threads: null },
        ...{ maxSequences: 16, maxContext: 512, prefillChunk: 128, adapterBytes: 2 ** 28, adapterPages: null },
        cacheDir: join(folder, 'weights'),
      },
    ],
    limits: { ...defaultSupervisorLimits, waitingRequests: 64, waitingTokens: 1e6 },
    ...{ clock: systemClock, timers: systemTimers, log: silent },
  });
  try {
    await engine.ready;
    const each = applied.map((adapters) =>
      prompts.map(({ tokens: promptTokens, greedy: reference }) => {
        const params = { ...greedy, maxTokens: reference.length, ignoreEos: true, logprobs: 2 };
        const said: Said = { tokens: [], leads: [] };
        const onToken = ({ token, logprobs }: TokenEvent) => {
          const [[, first], [, second]] = logprobs!.top as [[number, number], [number, number]];
          said.tokens.push(token);
          said.leads.push(first - second);
        };
        return new Promise<Said>((resolve, reject) => {
          const onEnd = ({ reason, error }: SequenceEnd) =>
            reason === 'length' ? resolve(said) : reject(new Error(`${reason}: ${error?.message}`));
          engine.submit({ promptTokens, params, adapters }, { onToken, onEnd });
        });
      }),
    );
    return await Promise.all(each.map((said) => Promise.all(said)));
  } finally {
    await engine.close(0);
  }
}

async function exported(format: 'gguf' | 'safetensors'): Promise<ModelFiles> {
  const entry = new URL('../../src/offline/main.ts', import.meta.url);
  const offline = offlineClient({ entry, env, model: base, limits, log: silent });
  const path = join(folder, format === 'gguf' ? 'pirate.gguf' : 'pirate');
  if (format === 'safetensors') mkdirSync(path);
  const order = { adapter: pirate(), format, dtype: 'F16', unpacked: false, name: 'pirate' } as const;
  const { body } = await offline.exportMerged(order, new AbortController().signal);
  await pipeline(body, format === 'gguf' ? createWriteStream(path) : unpackTar(path));
  const hub = { endpoint: 'http://127.0.0.1:1', token: null, cacheDir: folder, offline: true };
  return resolveModel(path, { cacheDir: join(folder, 'models'), hub });
}

test('an exported merge says what the base with the adapter says', async (t) => {
  const [beside, plain] = await say(base, null, [[{ files: pirate(), scale: 1 }], []]);
  const changed = prompts.filter((_, i) => plain![i]!.tokens.join() !== beside![i]!.tokens.join()).length;
  assert.ok(changed >= prompts.length / 2, 'the adapter changes what is said');
  const tokenizer = (files: ModelFiles) => loadTokenizer(files, (path) => readGguf(path).metadata);
  const own = await tokenizer(base);
  for (const format of ['gguf', 'safetensors'] as const) {
    const files = await exported(format);
    const [merged] = await say(files, 32, [[]]);
    const leads = beside!.flatMap(({ tokens, leads }, i) => {
      const difference = firstDifference({ greedy: tokens, margins: leads }, merged![i]!.tokens);
      return difference === null ? [] : [difference.margin];
    });
    const fromPeft = prompts.filter((prompt, i) => firstDifference(prompt, merged![i]!.tokens) !== null).length;
    t.diagnostic(
      `${format}: ${prompts.length - leads.length} of ${prompts.length} equal; differences at leads ${leads}`,
    );
    t.diagnostic(`${format}: ${prompts.length - fromPeft} of ${prompts.length} are PEFT's own`);
    // F16 keeps 11 bits of a weight.
    assert.ok(leads.length <= prompts.length / 4 && leads.every((lead) => lead < 0.02));
    assert.ok(fromPeft <= prompts.length / 4);
    const exportedTokenizer = await tokenizer(files);
    for (const text of corpus) {
      const options = { addSpecialTokens: true, parseSpecial: true };
      assert.deepEqual(exportedTokenizer.encode(text, options), own.encode(text, options));
    }
  }
});
