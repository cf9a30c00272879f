// Adapters of the common tools, rebuilt small: each tool's adapter_config.json with all its fields, and the tensors'
// names, over the three tiny layers of peft-files.ts. Each is read as expected, or refused for the expected reason.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { bytesOf, headerOf, type Shapes, tinyShape } from './peft-files.ts';

const sizes: Readonly<Record<string, readonly [block: string, inputs: number, outputs: number]>> = {
  q_proj: ['self_attn', 16, 16],
  k_proj: ['self_attn', 16, 8],
  v_proj: ['self_attn', 16, 8],
  o_proj: ['self_attn', 16, 16],
  gate_proj: ['mlp', 16, 24],
  up_proj: ['mlp', 16, 24],
  down_proj: ['mlp', 24, 16],
};
const attention = ['q_proj', 'k_proj', 'v_proj', 'o_proj'];
const all = Object.keys(sizes);
const mixed = ['o_proj', 'gate_proj', 'q_proj', 'down_proj', 'v_proj', 'up_proj', 'k_proj'];

type Layout = { readonly r?: number; readonly layers?: readonly number[]; readonly spell?: (name: string) => string };

function pairs(modules: readonly string[], { r = 8, layers = [0, 1, 2], spell = (name) => name }: Layout = {}): Shapes {
  const entries = layers.flatMap((layer) =>
    modules.flatMap((module): [string, readonly number[]][] => {
      const [block, inputs, outputs] = sizes[module]!;
      const name = `base_model.model.model.layers.${layer}.${block}.${module}`;
      return [
        [spell(`${name}.lora_A.weight`), [r, inputs]],
        [spell(`${name}.lora_B.weight`), [outputs, r]],
      ];
    }),
  );
  return Object.fromEntries(entries);
}

const dora = (modules: readonly string[]): Shapes => ({
  ...pairs(modules),
  ...Object.fromEntries(
    [0, 1, 2].flatMap((layer) =>
      modules.map((module): [string, readonly number[]] => {
        const [block, , outputs] = sizes[module]!;
        return [`base_model.model.model.layers.${layer}.${block}.${module}.lora_magnitude_vector`, [outputs]];
      }),
    ),
  ),
});

// Config fields of PEFT's releases. Each tool writes the fields of one of them.
const early = {
  ...{ base_model_name_or_path: 'decapoda-research/llama-7b-hf', bias: 'none', enable_lora: null },
  ...{ fan_in_fan_out: false, inference_mode: true, lora_alpha: 16, lora_dropout: 0.05, merge_weights: false },
  ...{ modules_to_save: null, peft_type: 'LORA', r: 8, target_modules: ['q_proj', 'v_proj'], task_type: 'CAUSAL_LM' },
};
const v4 = {
  ...{ auto_mapping: null, base_model_name_or_path: 'org/Tiny-Llama', bias: 'none', fan_in_fan_out: false },
  ...{ inference_mode: true, init_lora_weights: true, layers_pattern: null, layers_to_transform: null, lora_alpha: 16 },
  ...{ lora_dropout: 0.1, modules_to_save: null, peft_type: 'LORA', r: 8, revision: null },
  ...{ target_modules: ['q_proj', 'v_proj'], task_type: 'CAUSAL_LM' },
};
const v10 = {
  ...{ ...v4, alpha_pattern: {}, layer_replication: null, loftq_config: {}, megatron_config: null },
  ...{ megatron_core: 'megatron.core', rank_pattern: {}, use_dora: false, use_rslora: false },
};
const v15 = { ...v10, corda_config: null, eva_config: null, exclude_modules: null, lora_bias: false };
const v17 = {
  ...{ ...v15, qalora_group_size: 16, target_parameters: null, trainable_token_indices: null, use_qalora: false },
};
const v19 = {
  ...{ ...v17, alora_invocation_tokens: null, arrow_config: null, ensure_weight_tying: false, lora_ga_config: null },
  ...{ peft_version: '0.19.1', use_bdlora: null },
};
const unsloth = {
  ...{ ...v19, base_model_name_or_path: 'unsloth/Tiny-Llama-bnb-4bit', lora_dropout: 0, lora_alpha: 16, r: 16 },
  ...{ target_modules: mixed, peft_version: '0.18.1' },
  auto_mapping: {
    base_model_class: 'LlamaForCausalLM',
    parent_library: 'transformers.models.llama.modeling_llama',
    unsloth_fixed: true,
  },
};
const tags = '(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)';
const projections = '(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)';
const unslothRegex =
  `(?:.*?(?:language|text).*?${tags}.*?${projections}.*?)|` +
  `(?:\\bmodel\\.layers\\.[\\d]{1,}\\.${tags}\\.(?:${projections}))`;
const headPair: Shapes = {
  'base_model.model.lm_head.lora_A.weight': [8, 16],
  'base_model.model.lm_head.lora_B.weight': [40, 8],
};

type Outcome = { readonly modules: readonly string[]; readonly scaling: number; readonly warns?: RegExp };
type Row = [what: string, config: object, tensors: Shapes, outcome: Outcome];

const read: readonly Row[] = [
  ['alpaca-lora, PEFT 0.2', early, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  ['PEFT 0.4', v4, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  ['PEFT 0.10', v10, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  ['PEFT 0.15', v15, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  ['PEFT 0.17', v17, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  ['PEFT 0.19', v19, pairs(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  [
    'PEFT, rsLoRA',
    { ...v10, use_rslora: true, r: 16, target_modules: attention },
    pairs(attention, { r: 16 }),
    { modules: attention, scaling: 4 },
  ],
  ['PEFT, DoRA', { ...v10, use_dora: true }, dora(['q_proj', 'v_proj']), { modules: ['q_proj', 'v_proj'], scaling: 2 }],
  [
    'PEFT, lm_head saved with its frozen copy',
    { ...v19, target_modules: ['q_proj', 'lm_head'] },
    { ...pairs(['q_proj']), ...headPair, 'base_model.model.lm_head.base_layer.weight': [40, 16] },
    { modules: ['q_proj', 'lm_head'], scaling: 2, warns: /Frozen copies/ },
  ],
  [
    'PEFT, embeddings saved beside',
    v17,
    {
      ...pairs(['q_proj', 'v_proj']),
      ...{ 'base_model.model.model.embed_tokens.weight': [40, 16], 'base_model.model.lm_head.weight': [40, 16] },
    },
    { modules: ['q_proj', 'v_proj'], scaling: 2, warns: /Frozen copies/ },
  ],
  [
    'PEFT, a list for many architectures',
    { ...v10, target_modules: ['q_proj', 'v_proj', 'c_attn', 'query_key_value', 'Wqkv', 'dense_h_to_4h'] },
    pairs(['q_proj', 'v_proj']),
    { modules: ['q_proj', 'v_proj'], scaling: 2, warns: /"c_attn", "query_key_value", "Wqkv", "dense_h_to_4h"/ },
  ],
  [
    'PEFT, EVA',
    {
      ...v15,
      init_lora_weights: 'eva',
      eva_config: { rho: 2, tau: 0.99 },
      rank_pattern: { 'layers.2.self_attn.q_proj': 4 },
    },
    { ...pairs(['v_proj']), ...pairs(['q_proj'], { layers: [0, 1] }), ...pairs(['q_proj'], { layers: [2], r: 4 }) },
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'PEFT, inject_adapter_in_model',
    v17,
    pairs(['q_proj', 'v_proj'], { spell: (name) => name.replace('base_model.model.', '') }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'PEFT, state dict of an adapter called "sql"',
    v17,
    pairs(['q_proj', 'v_proj'], { spell: (name) => name.replace('.weight', '.sql.weight') }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'PEFT, a regular expression with look-around',
    { ...v17, target_modules: '^(?!.*vision).*\\.(q_proj|v_proj)$' },
    pairs(['q_proj', 'v_proj']),
    { modules: ['q_proj', 'v_proj'], scaling: 2, warns: /not compared/ },
  ],
  ['Unsloth, a list', unsloth, pairs(all, { r: 16 }), { modules: all, scaling: 1 }],
  [
    'Unsloth, FastModel',
    { ...unsloth, target_modules: unslothRegex },
    pairs(all, { r: 16 }),
    { modules: all, scaling: 1 },
  ],
  [
    'Unsloth, attention of some layers',
    { ...unsloth, target_modules: unslothRegex },
    pairs(attention, { r: 16, layers: [0, 2] }),
    { modules: attention, scaling: 1, warns: /13 modules that have no tensors/ },
  ],
  [
    'Unsloth, rsLoRA of rank 64',
    { ...unsloth, r: 64, lora_alpha: 64, use_rslora: true },
    pairs(all, { r: 64 }),
    { modules: all, scaling: 8 },
  ],
  [
    'LLaMA-Factory, lora_target: all',
    { ...v15, lora_alpha: 16, lora_dropout: 0, target_modules: mixed },
    pairs(all),
    { modules: all, scaling: 2 },
  ],
  [
    'LLaMA-Factory, q and v',
    { ...v10, base_model_name_or_path: '/root/models/Tiny-Llama', target_modules: ['v_proj', 'q_proj'] },
    pairs(['q_proj', 'v_proj']),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'LLaMA-Factory, LoRA+ and a vision tower excluded',
    { ...v17, target_modules: '^(?!.*(?:visual|lm_head)).*(?:q_proj|k_proj|v_proj|o_proj).*' },
    pairs(attention),
    { modules: attention, scaling: 2, warns: /not compared/ },
  ],
  [
    'LLaMA-Factory, a model inside a multimodal one',
    { ...v17, target_modules: attention },
    pairs(attention, { spell: (name) => name.replace('model.model.model.', 'model.model.model.language_model.') }),
    { modules: attention, scaling: 2 },
  ],
  [
    'LLaMA-Factory, PiSSA converted to LoRA',
    { ...v15, init_lora_weights: true, r: 16, lora_alpha: 32, target_modules: mixed },
    pairs(all, { r: 16 }),
    { modules: all, scaling: 2 },
  ],
  [
    'Axolotl, lora_target_linear',
    { ...v15, lora_alpha: 32, r: 32, lora_dropout: 0.05, fan_in_fan_out: null, target_modules: mixed },
    pairs(all, { r: 32 }),
    { modules: all, scaling: 1 },
  ],
  [
    'Axolotl, peft_layers_to_transform',
    { ...v15, target_modules: attention, layers_to_transform: [1, 2] },
    pairs(attention, { layers: [1, 2] }),
    { modules: attention, scaling: 2 },
  ],
  [
    'Axolotl under FSDP',
    { ...v15, fan_in_fan_out: null, target_modules: mixed },
    pairs(all, { spell: (name) => name.replace(/layers\.(\d)\./, 'layers.$1._fsdp_wrapped_module.') }),
    { modules: all, scaling: 2 },
  ],
  [
    'Axolotl, torch_compile',
    { ...v15, fan_in_fan_out: null, target_modules: mixed },
    pairs(all, { spell: (name) => name.replace('base_model.model.', 'base_model.model._orig_mod.') }),
    { modules: all, scaling: 2 },
  ],
  [
    'Axolotl, activation checkpoints',
    { ...v15, target_modules: ['q_proj', 'v_proj'] },
    pairs(['q_proj', 'v_proj'], {
      spell: (name) => name.replace('.self_attn.', '._checkpoint_wrapped_module.self_attn.'),
    }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'TRL, SFT script',
    { ...v10, r: 16, lora_alpha: 32 },
    pairs(['q_proj', 'v_proj'], { r: 16 }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  ['TRL, all-linear as PEFT expands it', { ...v17, target_modules: mixed }, pairs(all), { modules: all, scaling: 2 }],
  [
    'TRL, all-linear as it was given',
    { ...v10, target_modules: 'all-linear' },
    pairs(all),
    { modules: all, scaling: 2 },
  ],
  [
    'TRL, DPO with an adapter called "policy"',
    { ...v15, target_modules: attention },
    pairs(attention, { spell: (name) => name.replace('.weight', '.policy.weight') }),
    { modules: attention, scaling: 2 },
  ],
  [
    'TRL, a model loaded without its head',
    { ...v15, task_type: null, target_modules: ['q_proj', 'v_proj'] },
    pairs(['q_proj', 'v_proj'], { spell: (name) => name.replace('model.model.model.', 'model.model.') }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'DeepSpeed, names of DistributedDataParallel',
    { ...v10, target_modules: ['q_proj', 'v_proj'] },
    pairs(['q_proj', 'v_proj'], { spell: (name) => `module.${name}` }),
    { modules: ['q_proj', 'v_proj'], scaling: 2 },
  ],
  [
    'torchtune',
    { r: 8, lora_alpha: 16, target_modules: attention, peft_type: 'LORA', base_model_name_or_path: '' },
    pairs(attention),
    { modules: attention, scaling: 2 },
  ],
  [
    'a minimum by hand',
    { peft_type: 'LORA', target_modules: ['q_proj'], r: 8, lora_alpha: 8 },
    pairs(['q_proj']),
    { modules: ['q_proj'], scaling: 1 },
  ],
  [
    'fields as null',
    Object.fromEntries([
      ...Object.entries(v19).map(([key]) => [key, null]),
      ['peft_type', 'LORA'],
      ['target_modules', attention],
    ]),
    pairs(attention),
    { modules: attention, scaling: 1 },
  ],
];

for (const [what, config, tensors, { modules, scaling, warns }] of read) {
  test(`read: ${what}`, () => {
    const adapter = readPeftAdapter(bytesOf(config), headerOf(tensors, 'BF16'), tinyShape);
    assert.deepEqual(
      adapter.targetModules,
      [...all, 'lm_head'].filter((module) => modules.includes(module)),
    );
    const expected = Object.keys(tensors).filter((name) => name.includes('lora_A')).length;
    assert.equal(adapter.pairs.length, expected);
    assert.equal(adapter.pairs[0]!.scaling, scaling);
    if (warns === undefined) assert.deepEqual(adapter.warnings, []);
    else assert.match(adapter.warnings.join('\n'), warns);
  });
}

type Refused = [what: string, config: object, tensors: Shapes, param: string, reason: RegExp];
const embeddings = {
  'base_model.model.model.embed_tokens.weight': [42, 16],
  'base_model.model.lm_head.weight': [42, 16],
};
const refused: readonly Refused[] = [
  [
    'Unsloth, embed_tokens and lm_head trained',
    { ...unsloth, modules_to_save: ['lm_head', 'embed_tokens'] },
    pairs(all, { r: 16 }),
    'modules_to_save',
    /replaces whole modules/,
  ],
  [
    'LLaMA-Factory, resize_vocab',
    v15,
    { ...pairs(['q_proj', 'v_proj']), ...embeddings },
    'base_model.model.model.embed_tokens.weight',
    /2 tokens more/,
  ],
  [
    'LLaMA-Factory, PiSSA as it was trained',
    { ...v15, init_lora_weights: 'pissa_niter_16' },
    pairs(['q_proj', 'v_proj']),
    'init_lora_weights',
    /changed base model/,
  ],
  [
    'Axolotl, lora_modules_to_save',
    { ...v15, modules_to_save: ['embed_tokens'] },
    pairs(all),
    'modules_to_save',
    /replaces whole modules/,
  ],
  [
    'Axolotl, LoftQ',
    { ...v15, init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4 } },
    pairs(all),
    'init_lora_weights',
    /changed base model/,
  ],
  [
    'TRL, a reward model',
    { ...v15, task_type: 'SEQ_CLS', modules_to_save: ['score'] },
    pairs(attention),
    'task_type',
    /CAUSAL_LM/,
  ],
  ['PEFT, biases trained', { ...v10, bias: 'lora_only' }, pairs(['q_proj', 'v_proj']), 'bias', /would change/],
  [
    'PEFT, trained tokens that are not in the file',
    { ...v17, trainable_token_indices: [39] },
    pairs(['q_proj', 'v_proj']),
    'base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta',
    /is missing/,
  ],
  [
    'PEFT, an activated LoRA',
    { ...v19, alora_invocation_tokens: [5, 6] },
    pairs(['q_proj', 'v_proj']),
    'alora_invocation_tokens',
    /would change/,
  ],
  ['PEFT, prompt tuning', { peft_type: 'PROMPT_TUNING', num_virtual_tokens: 8 }, {}, 'peft_type', /change no weights/],
];

for (const [what, config, tensors, param, reason] of refused) {
  test(`refused: ${what}`, () =>
    assert.throws(
      () => readPeftAdapter(bytesOf(config), headerOf(tensors, 'BF16'), tinyShape),
      (error) => error instanceof LorikeetError && error.param === param && reason.test(error.message),
    ));
}
