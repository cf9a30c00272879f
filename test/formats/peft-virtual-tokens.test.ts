// Files of prefix tuning, prompt tuning and p-tuning: how they are read, and how wrong ones are refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { readVirtualTokens } from '../../src/formats/peft-virtual-tokens.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { checkAdapter } from '../../src/registry/check-adapter.ts';
import { bytesOf, headerOf, plainConfig, type Shapes, tinyShape } from './peft-files.ts';
import { assertRefuses } from './refusal.ts';

/** layers * 2 * kvHeads * headDim */
const keyValues = 3 * 2 * 2 * 4;
const prefix = {
  ...{ peft_type: 'PREFIX_TUNING', task_type: 'CAUSAL_LM', num_virtual_tokens: 5, token_dim: 8, num_layers: 3 },
  ...{ num_attention_heads: 2, num_transformer_submodules: 1, prefix_projection: false, encoder_hidden_size: 8 },
  ...{ inference_mode: true, peft_version: '0.21.2', modules_to_save: null, init_weights: null },
};
const prompt = {
  ...{ peft_type: 'PROMPT_TUNING', num_virtual_tokens: 5, token_dim: 16, num_layers: 3, num_attention_heads: 4 },
  ...{ prompt_tuning_init: 'TEXT', prompt_tuning_init_text: 'x', tokenizer_name_or_path: 'y', tokenizer_kwargs: null },
};
const encoded = { ...prompt, peft_type: 'P_TUNING', encoder_reparameterization_type: 'MLP', encoder_dropout: 0 };

const read = (config: object, shapes: Shapes, base: string | null = null) =>
  readVirtualTokens(bytesOf(config), headerOf(shapes), tinyShape, base);

test("PEFT's files say what kind of tokens, and how many", () => {
  for (const [config, kind, width] of [
    [prefix, 'keys and values', keyValues],
    [{ ...prefix, prefix_projection: true }, 'keys and values', keyValues],
    [prompt, 'embeddings', 16],
    [encoded, 'embeddings', 16],
  ] as const) {
    const { tensor, ...found } = read(config, { prompt_embeddings: [5, width] })!;
    assert.deepEqual(found, { kind, count: 5, width, warnings: [] });
    assert.deepEqual([tensor.name, tensor.shape], ['prompt_embeddings', [5, width]]);
  }
  const other = { ...prompt, base_model_name_or_path: 'org/other' };
  assert.match(read(other, { prompt_embeddings: [5, 16] }, 'org/this')!.warnings[0]!, /made for "org\/other"/);
});

test('an adapter of another kind is none of these', () => {
  for (const config of [plainConfig, { peft_type: 'IA3' }, {}, { peft_type: 'constructor' }]) {
    assert.equal(read(config, { prompt_embeddings: [5, 16] }), null);
  }
});

const good = { prompt_embeddings: [5, keyValues] };
const refusals: [what: string, config: object, shapes: Shapes, param: string, reason: RegExp][] = [
  ['no tensor', prefix, { other: [5, keyValues] }, 'adapter_model.safetensors', /has no prompt_embeddings/],
  ['a tensor beside it', prefix, { ...good, more: [1] }, 'more', /stands beside/],
  ['another count', { ...prefix, num_virtual_tokens: 6 }, good, 'prompt_embeddings', /\[5,48\]; .*\[6,48\]/],
  ['another width', prefix, { prompt_embeddings: [5, 40] }, 'prompt_embeddings', /\[5,40\]; .*\[5,48\]/],
  ['embeddings of another width', prompt, { prompt_embeddings: [5, 12] }, 'prompt_embeddings', /\[5,12\]; .*\[5,16\]/],
  ['one dimension', prefix, { prompt_embeddings: [240] }, 'prompt_embeddings', /is \[240\]/],
  ['no tokens', { ...prefix, num_virtual_tokens: 0 }, { prompt_embeddings: [0, 48] }, 'prompt_embeddings', /\[0,48\]/],
  ['other layers', { ...prefix, num_layers: 6, token_dim: 4 }, good, 'token_dim', /is 4; the base model needs 8/],
  ['as many of other layers', { ...prefix, num_layers: 6 }, good, 'num_layers', /is 6; the base model needs 3/],
  ['other heads', { ...prefix, num_attention_heads: 4 }, good, 'num_attention_heads', /is 4; .* needs 2/],
  ['another hidden size', { ...prompt, token_dim: 8 }, { prompt_embeddings: [5, 16] }, 'token_dim', /8; .* needs 16/],
  ['an encoder too', { ...prefix, num_transformer_submodules: 2 }, good, 'num_transformer_submodules', /is 2/],
  ['another task', { ...prefix, task_type: 'SEQ_CLS' }, good, 'task_type', /not CAUSAL_LM/],
  ['an unknown field', { ...prefix, gated: true }, good, 'gated', /would change the result/],
  ['weights of its own', { ...prefix, modules_to_save: ['lm_head'] }, good, 'modules_to_save', /would change/],
];

for (const [what, config, shapes, param, reason] of refusals) {
  test(`refused by name: ${what}`, () => {
    assert.throws(
      () => read(config, shapes),
      (error) => {
        assert.ok(error instanceof LorikeetError && error.code.startsWith('adapter_'), String(error));
        assert.deepEqual([error.param, reason.test(error.message)], [param, true], error.message);
        return true;
      },
    );
  });
}

test('refused: more tokens than a context holds, another type of numbers', () => {
  const shapes = { prompt_embeddings: [2048, 16] };
  assertRefuses(() => read({ ...prompt, num_virtual_tokens: 2048 }, shapes), /context is 2048/, 'adapter_unsupported');
  const header = headerOf({ prompt_embeddings: [5, 16] }, 'I8');
  assertRefuses(() => readVirtualTokens(bytesOf(prompt), header, tinyShape), /type I8/, 'adapter_unsupported');
});

test('where pairs are needed virtual tokens are refused by name', () => {
  const work = () => readPeftAdapter(bytesOf(prefix), headerOf(good), tinyShape);
  assertRefuses(work, /peft_type is one of virtual tokens/, 'adapter_unsupported');
});

test('an upload is checked number by number', async () => {
  const base = { name: 'base', digest: 'sha256:b', shape: () => tinyShape };
  const check = (values: Float32Array) => {
    const bytes = new Uint8Array(values.buffer);
    const file = writeSafetensors([{ name: 'prompt_embeddings', type: 'F32', shape: [5, keyValues], bytes }]);
    const reader = { bytes: file.length, read: (at: number, count: number) => file.subarray(at, at + count) };
    return checkAdapter(bytesOf(prefix), reader, base);
  };
  const values = new Float32Array(5 * keyValues).fill(0.5);
  assert.deepEqual(await check(values), {
    ...{ r: 0, parameters: 5 * keyValues, targetModules: [], virtualTokens: 5, warnings: [] },
  });
  for (const at of [0, values.length - 1]) {
    await assert.rejects(async () => check(values.with(at, Number.NaN)), /prompt_embeddings holds a NaN/);
  }
});
