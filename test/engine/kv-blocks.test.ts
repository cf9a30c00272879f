// The length and number of blocks that each form of the KV cache reports, beside what rows then take of them.

import assert from 'node:assert/strict';
import test from 'node:test';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { kvBlockBytes } from '../../src/engine/kv/host-blocks.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { asDevice, hostBeside, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';

const host = hostBeside(testRuntime());
const model = await tinyLowered('llama', null);
/** A context ends inside its third block. */
const [rows, positions] = [3, 2 * kvBlock + 16];
const blockBytes = kvBlockBytes(model.shape, kvBlock, 'float16');

type Case = {
  readonly what: string;
  readonly runtime: Runtime;
  readonly options?: { readonly kvBytes: number; readonly prefixBytes: number };
  readonly blockTokens: number;
  readonly blocks: number;
  /** Blocks that a row of `kvBlock + 1` tokens takes; left out: the usage of rows of memory also counts spare rows. */
  readonly taken?: number;
};

const cases: readonly Case[] = [
  { what: 'the processor', runtime: host, blockTokens: kvBlock, blocks: 9, taken: 2 },
  {
    ...{ what: 'the processor with less memory, and some for prefixes', runtime: host, blockTokens: kvBlock },
    ...{ options: { kvBytes: 5 * blockBytes, prefixBytes: 2 * blockBytes }, blocks: 7, taken: 2 },
  },
  { what: 'a device in rows', runtime: asDevice(host, {}), blockTokens: positions, blocks: rows },
  {
    ...{ what: 'a device in blocks', runtime: asDevice(host, { inBlocks: true }) },
    ...{ blockTokens: kvBlock, blocks: 9, taken: 2 },
  },
];

async function fill(decoder: Decoder, tokens: number): Promise<void> {
  const sampled = [tokens - 1];
  const batch = { kind: 'prompt', first: 0, pasts: [0], tokens: new Array<number>(tokens).fill(5), sampled } as const;
  await decoder.forward(evenBatch(batch));
}

for (const { what, runtime, options, blockTokens, blocks, taken } of cases) {
  test(`${what}: ${blocks} blocks of ${blockTokens} tokens`, async () => {
    const decoder = createDecoder(runtime, model, { rows, positions, ...options });
    assert.deepEqual([decoder.kv.blockTokens, decoder.kv.blocks], [blockTokens, blocks]);
    await fill(decoder, kvBlock + 1);
    if (taken !== undefined) assert.equal(decoder.kv.usage, taken / blocks);
    await decoder.release();
  });
}
