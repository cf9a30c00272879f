// Prefix and prompt tuning on the real model, as it is served, against PEFT in float32 on the same dequantised weights,
// alone and beside a LoRA adapter, computed and found again.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import { startEngine } from '../../src/engine/start-engine.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import type { SequenceEnd, SequenceRequest, TokenEvent } from '../../src/protocol/messages.ts';
import { writeAdapterFiles } from '../engine/adapters/random-adapters.ts';
import { hashedValues } from '../helpers/hashed-values.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { writtenAdapter } from './adapters.ts';

type References = {
  readonly tokens: number;
  readonly texts: readonly (readonly number[])[];
  readonly cases: readonly {
    readonly kind: string;
    readonly beside: string | null;
    readonly factor: number;
    readonly salt: number;
    readonly width: number;
    readonly logprobs: readonly (readonly number[])[];
  }[];
};
const url = new URL('references/virtual-tokens.json', import.meta.url);
const references = JSON.parse(readFileSync(url, 'utf8')) as References;
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-virtual-parity-'));

function virtualOf({ kind, factor, salt, width }: References['cases'][number]) {
  const { tokens } = references;
  const values = hashedValues(tokens * width, salt).map((value) => factor * value);
  const bytes = new Uint8Array(values.buffer);
  const config = JSON.stringify({ peft_type: kind, task_type: 'CAUSAL_LM', num_virtual_tokens: tokens });
  const weights = writeSafetensors([{ name: 'prompt_embeddings', type: 'F32', shape: [tokens, width], bytes }]);
  return { files: writeAdapterFiles(Buffer.from(config), weights), scale: 1, virtualTokens: tokens };
}

test('log-probabilities with virtual tokens are those of PEFT', async (t) => {
  t.after(() => rmSync(folder, { recursive: true }));
  const ends: SequenceEnd[] = [];
  const events: TokenEvent[] = [];
  const { engine } = await startEngine(
    {
      ...{ model: await realModelFiles(), weightBits: null, decodeActivations: 'int8', device: 'cpu' },
      ...{ ortLibrary: null, threads: null, maxSequences: 8, maxContext: 512, prefillChunk: 64 },
      ...{ adapterBytes: 2 ** 28, adapterPages: 32, prefixBytes: 2 ** 26, cacheDir: folder },
    },
    systemClock,
    {
      emit(event) {
        if (event.type !== 'step') return;
        ends.push(...event.ended);
        events.push(...event.tokens);
      },
      onChange: () => {},
    },
  );
  const run = async (request: Omit<SequenceRequest, 'id' | 'params'>) => {
    ends.length = 0;
    events.length = 0;
    engine.add({ id: 1, params: { ...defaultSamplingParams, temperature: 0, maxTokens: 1 }, ...request });
    for (; ends.length === 0; await setTimeout(1)) await engine.step();
    assert.equal(ends[0]!.error, undefined);
    return { end: ends[0]!, tokens: events.map(({ token }) => token) };
  };
  for (const one of references.cases) {
    const adapters = [
      ...(one.beside === null ? [] : [{ files: writtenAdapter(one.beside, folder), scale: 1 }]),
      virtualOf(one),
    ];
    const apart: number[] = [];
    for (const [i, promptTokens] of references.texts.entries()) {
      const { end, tokens } = await run({ promptTokens, adapters, promptLogprobs: 0 });
      for (const [at, found] of end.promptLogprobs!.slice(1).entries()) {
        apart.push(Math.abs(found!.logprob - one.logprobs[i]![at]!));
      }
      // Who asks for log-probabilities begins with nothing that was computed before, and leaves nothing.
      for (const isFirst of [true, false]) {
        const again = await run({ promptTokens, adapters });
        assert.deepEqual(again.tokens, tokens);
        // Whole blocks, whose first are virtual; the last token is computed.
        const whole = Math.floor((references.tokens + promptTokens.length - 1) / kvBlock) * kvBlock;
        if (!isFirst) assert.equal(again.end.cachedTokens, Math.max(0, whole - references.tokens));
      }
    }
    const mean = apart.reduce((sum, value) => sum + value, 0) / apart.length;
    const label = `${one.kind}${one.beside === null ? '' : ` beside ${one.beside}`}`;
    t.diagnostic(`${label}: ${apart.length} tokens, mean ${mean.toFixed(4)}, at most ${Math.max(...apart).toFixed(3)}`);
    assert.ok(mean < 0.01, `${label}: ${mean}`);
  }
});
