import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { parsePeftConfig } from '../../src/formats/peft-config.ts';
import { baseModelName, continuedConfig, freshConfig } from '../../src/training/adapter-config.ts';
import { defaultHyperparameters } from './hyperparameters.ts';

const settings = {
  ...defaultHyperparameters,
  ...{ r: 4, loraAlpha: 8, loraDropout: 0.1, useRslora: true },
  rankPattern: { 'layers.0.self_attn.q_proj': 2 },
};
// What PEFT wrote for these settings (make-training-config.py).
const written = JSON.parse(
  readFileSync(new URL('../fixtures/peft-training-config.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;

test('every field is one that PEFT writes, with the value that PEFT writes', () => {
  const fresh = freshConfig(settings, 'org/base');
  for (const [field, value] of Object.entries(fresh)) assert.deepEqual(value, written[field], field);
});

test('every field that PEFT writes and that is not there is off', () => {
  const fresh = freshConfig(settings, 'org/base');
  const others = Object.entries(written).filter(([field]) => !(field in fresh));
  const on = others.filter(([, value]) => value !== null && value !== false);
  assert.deepEqual(on.map(([field]) => field).sort(), ['peft_version', 'qalora_group_size']);
});

test('an adapter that is gone on with keeps its ranks and modules, and nothing else', () => {
  const original = {
    ...{ peft_type: 'LORA', r: 3, lora_alpha: 5, target_modules: '.*q_proj', layers_to_transform: null },
    ...{ alpha_pattern: { q_proj: 2 }, lora_dropout: 0.5, peft_version: '0.1', base_model_name_or_path: 'other' },
  };
  const config = continuedConfig(original, settings, 'org/base');
  const { r, lora_alpha, target_modules, alpha_pattern, rank_pattern, lora_dropout, base_model_name_or_path } = config;
  assert.deepEqual(
    { r, lora_alpha, target_modules, alpha_pattern, rank_pattern, lora_dropout, base_model_name_or_path },
    {
      ...{ r: 3, lora_alpha: 5, target_modules: '.*q_proj', alpha_pattern: { q_proj: 2 }, rank_pattern: {} },
      ...{ lora_dropout: 0.1, base_model_name_or_path: 'org/base' },
    },
  );
  assert.ok(!('peft_version' in config));
  const bytes = new TextEncoder().encode(JSON.stringify(config));
  assert.equal(parsePeftConfig(bytes).r, 3);
});

test('the base is called as its hub calls it', () => {
  assert.equal(baseModelName({ name: 'base', source: 'hub:org/base@123' }), 'org/base');
  assert.equal(baseModelName({ name: 'base', source: 'path' }), 'base');
});
