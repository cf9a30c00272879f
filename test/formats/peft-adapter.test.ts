import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { bytesOf, headerOf, inLayer, plainConfig, plainShapes, readWith, tinyShape } from './peft-files.ts';
import { accepts, assertRefuses } from './refusal.ts';

const q = (layer: number | string, part: string) => inLayer(layer, `self_attn.q_proj.${part}`);
const without = (...names: string[]) => Object.fromEntries(names.map((name) => [name, undefined]));
const allQ = Object.keys(plainShapes);

function assertBlames(
  work: () => unknown,
  param: string,
  reason: RegExp,
  code: 'adapter_invalid' | 'adapter_unsupported',
) {
  assertRefuses(work, reason, code);
  assert.throws(work, (error) => error instanceof LorikeetError && error.param === param);
}

test('a plain adapter', () => {
  const adapter = readWith({});
  assert.deepEqual(
    adapter.pairs.map(({ layer, module, r, scaling, loraA, loraB, magnitude }) => [
      ...[layer, module, r, scaling],
      ...[loraA.name, loraB.name, magnitude],
    ]),
    [0, 1, 2].map((layer) => [layer, 'q_proj', 4, 2, q(layer, 'lora_A.weight'), q(layer, 'lora_B.weight'), null]),
  );
  const { pairs: _, embedding, ...rest } = adapter;
  assert.deepEqual(embedding, { pair: null, tokens: null, headTokens: null });
  const figures = { r: 4, linearRanks: 4, parameters: 3 * 2 * 64, targetModules: ['q_proj'] };
  assert.deepEqual(rest, { ...figures, usesDora: false, warnings: [] });
});

test('pairs come by layer and module, lm_head last, whatever the order of the tensors', () => {
  const shapes = {
    'base_model.model.lm_head.lora_B.weight': [40, 4],
    'base_model.model.lm_head.lora_A.weight': [4, 16],
    [inLayer(2, 'mlp.down_proj.lora_A.weight')]: [4, 24],
    [inLayer(2, 'mlp.down_proj.lora_B.weight')]: [16, 4],
    [inLayer(2, 'self_attn.k_proj.lora_B.weight')]: [8, 4],
    [inLayer(2, 'self_attn.k_proj.lora_A.weight')]: [4, 16],
    ...plainShapes,
  };
  const config = { ...plainConfig, target_modules: ['lm_head', 'down_proj', 'k_proj', 'q_proj'] };
  const { pairs, targetModules } = readPeftAdapter(bytesOf(config), headerOf(shapes), tinyShape);
  assert.deepEqual(
    pairs.map(({ layer, module }) => `${layer} ${module}`),
    ['0 q_proj', '1 q_proj', '2 q_proj', '2 k_proj', '2 down_proj', 'null lm_head'],
  );
  assert.deepEqual(targetModules, ['q_proj', 'k_proj', 'down_proj', 'lm_head']);
});

type Row = [what: string, config: Record<string, unknown>, shapes: Parameters<typeof readWith>[1], param: string];

const ofEmbedding = (ending: string) => `base_model.model.model.embed_tokens.${ending}`;
const tokensDelta = ofEmbedding('token_adapter.trainable_tokens_delta');
const headDelta = 'base_model.model.lm_head.token_adapter.trainable_tokens_delta';
const headCopy = 'base_model.model.lm_head.base_layer.weight';
const embeddingCopy = 'base_model.model.model.embed_tokens.weight';

const invalid: readonly Row[] = [
  ['A without B', {}, without(q(1, 'lora_B.weight')), q(1, 'lora_B.weight')],
  ['B without A', {}, without(q(1, 'lora_A.weight')), q(1, 'lora_A.weight')],
  ['no pair', {}, without(...allQ), 'adapter_model.safetensors'],
  ['both spellings', {}, { [q(0, 'lora_A.default.weight')]: [4, 16] }, q(0, 'lora_A.default.weight')],
  [
    'another name',
    {},
    { 'model.layers.0.self_attn.q_proj.weight': [16, 16] },
    'model.layers.0.self_attn.q_proj.weight',
  ],
  ['another adapter name', {}, { [q(0, 'lora_A.mine.weight')]: [4, 16] }, q(0, 'lora_A.mine.weight')],
  ['one layer too many', {}, { [q(3, 'lora_A.weight')]: [4, 16] }, q(3, 'lora_A.weight')],
  ['a layer as 01', {}, { [q('01', 'lora_A.weight')]: [4, 16] }, q('01', 'lora_A.weight')],
  ['another block', {}, { [inLayer(0, 'mlp.q_proj.lora_A.weight')]: [4, 16] }, inLayer(0, 'mlp.q_proj.lora_A.weight')],
  ['another input size', {}, { [q(0, 'lora_A.weight')]: [4, 17] }, q(0, 'lora_A.weight')],
  ['another output size', {}, { [q(0, 'lora_B.weight')]: [15, 4] }, q(0, 'lora_B.weight')],
  ['A transposed', {}, { [q(0, 'lora_A.weight')]: [16, 4] }, q(0, 'lora_A.weight')],
  ['three dimensions', {}, { [q(0, 'lora_A.weight')]: [4, 16, 1] }, q(0, 'lora_A.weight')],
  ['rank 0', {}, { [q(0, 'lora_A.weight')]: [0, 16] }, q(0, 'lora_A.weight')],
  ['A and B of different ranks', {}, { [q(0, 'lora_B.weight')]: [16, 3] }, q(0, 'lora_B.weight')],
  ['r is not what the tensors have', { r: 8 }, {}, q(0, 'lora_A.weight')],
  ['rank_pattern is not what the tensors have', { rank_pattern: { q_proj: 2 } }, {}, q(0, 'lora_A.weight')],
  ['magnitudes without use_dora', {}, { [q(0, 'lora_magnitude_vector')]: [16] }, q(0, 'lora_magnitude_vector')],
  ['use_dora without magnitudes', { use_dora: true }, {}, q(0, 'lora_magnitude_vector')],
  ['magnitudes of another size', { use_dora: true }, magnitudes([1, 16]), q(0, 'lora_magnitude_vector')],
  ['no peft_type', { peft_type: undefined }, {}, 'peft_type'],
  ['half a pair of the embedding', {}, embedding({ lora_embedding_A: undefined }), ofEmbedding('lora_embedding_A')],
  ['the other half', {}, embedding({ lora_embedding_B: undefined }), ofEmbedding('lora_embedding_B')],
  ['a linear pair on the embedding', {}, { [ofEmbedding('lora_A.weight')]: [4, 16] }, ofEmbedding('lora_A.weight')],
  ['an embedding of another width', {}, embedding({ lora_embedding_B: [17, 4] }), ofEmbedding('lora_embedding_B')],
  ['rows of nobody knows which tokens', {}, { [tokensDelta]: [2, 16] }, tokensDelta],
  ['tokens without rows', { trainable_token_indices: [3] }, {}, tokensDelta],
  ['fewer rows than tokens', { trainable_token_indices: [3, 7] }, { [tokensDelta]: [1, 16] }, tokensDelta],
  ['a token twice', { trainable_token_indices: [3, 3] }, { [tokensDelta]: [2, 16] }, 'trainable_token_indices'],
  ['a token below 0', { trainable_token_indices: [-1] }, { [tokensDelta]: [1, 16] }, 'trainable_token_indices'],
  ['tokens as a text', { trainable_token_indices: '3' }, {}, 'trainable_token_indices'],
  ['tokens as texts', { trainable_token_indices: { lm_head: ['3'] } }, {}, 'trainable_token_indices.lm_head'],
  ['tokens beside a pair', { trainable_token_indices: [3] }, { ...embedding(), [tokensDelta]: [1, 16] }, tokensDelta],
  [
    'LoRA in trained tokens',
    { peft_type: 'TRAINABLE_TOKENS', token_indices: [3], r: undefined, lora_alpha: undefined },
    {},
    q(0, 'lora_A.weight'),
  ],
  ['modules_to_save as a text', { modules_to_save: 'lm_head' }, {}, 'modules_to_save'],
  [
    'two adapters',
    {},
    { [q(0, 'lora_A.weight')]: undefined, [q(0, 'lora_A.b.weight')]: [4, 16] },
    q(0, 'lora_A.b.weight'),
  ],
  ['a mixture of prefixes', {}, bare(0), 'model.layers.0.self_attn.q_proj.lora_A.weight'],
  ['r 0', { r: 0 }, {}, 'r'],
  ['r as text', { r: '4' }, {}, 'r'],
  ['r a fraction', { r: 4.5 }, {}, 'r'],
  ['lora_alpha beyond 32-bit floats', { lora_alpha: 1e39 }, {}, 'lora_alpha'],
  ['lora_alpha true', { lora_alpha: true }, {}, 'lora_alpha'],
  ['rank_pattern a list', { rank_pattern: [4] }, {}, 'rank_pattern'],
  ['rank_pattern of texts', { rank_pattern: { q_proj: '4' } }, {}, 'rank_pattern.q_proj'],
  ['alpha_pattern of texts', { alpha_pattern: { q_proj: '4' } }, {}, 'alpha_pattern.q_proj'],
  ['too many keys', { alpha_pattern: manyKeys() }, {}, 'alpha_pattern'],
  ['use_rslora 1', { use_rslora: 1 }, {}, 'use_rslora'],
  ['use_dora as text', { use_dora: 'false' }, {}, 'use_dora'],
  ['fan_in_fan_out as text', { fan_in_fan_out: 'yes' }, {}, 'fan_in_fan_out'],
  ['base_model_name_or_path a number', { base_model_name_or_path: 5 }, {}, 'base_model_name_or_path'],
];

const unsupported: readonly Row[] = [
  ['another method', { peft_type: 'IA3' }, {}, 'peft_type'],
  ['another task', { task_type: 'SEQ_2_SEQ_LM' }, {}, 'task_type'],
  ['an unknown field', { shiny_new_thing: 1 }, {}, 'shiny_new_thing'],
  ['an unknown field of zero', { shiny_new_thing: 0 }, {}, 'shiny_new_thing'],
  ['an unknown field that is an own __proto__', JSON.parse('{"__proto__": {"a": 1}}'), {}, '__proto__'],
  ['an unknown beginning', { init_lora_weights: 'from_the_base' }, {}, 'init_lora_weights'],
  ['corda', { init_lora_weights: 'corda' }, {}, 'init_lora_weights'],
  ['lora_ga', { init_lora_weights: 'lora_ga' }, {}, 'init_lora_weights'],
  ['loftq', { init_lora_weights: 'loftq', loftq_config: { loftq_bits: 4 } }, {}, 'init_lora_weights'],
  ['megatron_core', { megatron_core: 'other.core' }, {}, 'megatron_core'],
  ['r above the limit', { r: limits.adapterRank + 1 }, {}, 'r'],
  ['DoRA on an embedding', {}, embedding({ lora_magnitude_vector: [16] }), ofEmbedding('lora_magnitude_vector')],
  ['an embedding of more tokens', {}, embedding({ lora_embedding_A: [4, 42] }), ofEmbedding('lora_embedding_A')],
  ['a token beyond the vocabulary', { trainable_token_indices: [3, 40] }, { [tokensDelta]: [2, 16] }, tokensDelta],
  ['tokens of a linear', { trainable_token_indices: { q_proj: [1] } }, {}, 'q_proj'],
  ['whole matrices', { modules_to_save: ['embed_tokens', 'lm_head'] }, {}, 'modules_to_save'],
  ['a head that classifies', { modules_to_save: ['score'] }, {}, 'modules_to_save'],
  ['norms', { modules_to_save: ['input_layernorm'] }, {}, 'modules_to_save'],
  [
    'more tokens of a head than ranks',
    { trainable_token_indices: { lm_head: Array.from({ length: 40 }, (_, id) => id) }, r: limits.adapterRank - 39 },
    {
      ...without(...allQ),
      [headDelta]: [40, 16],
      'base_model.model.lm_head.lora_A.weight': [limits.adapterRank - 39, 16],
      'base_model.model.lm_head.lora_B.weight': [40, limits.adapterRank - 39],
    },
    headDelta,
  ],
  ['a head of more tokens', {}, lmHead(42), 'base_model.model.lm_head.lora_B.weight'],
  ['a copied head of more tokens', {}, { [headCopy]: [42, 16] }, headCopy],
  ['a copied embedding of fewer tokens', {}, { [embeddingCopy]: [32, 16] }, embeddingCopy],
  ['a bias of a pair', {}, { [q(0, 'lora_B.bias')]: [16] }, q(0, 'lora_B.bias')],
  ['a look-ahead', { rank_pattern: { '(?=q)q_proj': 4 } }, {}, 'rank_pattern'],
  ['a long key', { alpha_pattern: { ['q'.repeat(limits.adapterPatternChars + 1)]: 1 } }, {}, 'alpha_pattern'],
  ['many expressions', { alpha_pattern: manyKeys(200, '.*') }, {}, 'alpha_pattern'],
  ['a nested count', { alpha_pattern: { '((a{99}){99}){99}': 1 } }, {}, 'alpha_pattern'],
];

function manyKeys(count = limits.adapterPatterns + 1, before = '') {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${before}k${index}_a_longer_name`, 1]));
}

function lmHead(vocabulary = 40) {
  return {
    'base_model.model.lm_head.lora_A.weight': [4, 16],
    'base_model.model.lm_head.lora_B.weight': [vocabulary, 4],
  };
}

/** Tensors named as `inject_adapter_in_model` names them. */
function bare(layer: number) {
  const name = (part: string) => `model.layers.${layer}.self_attn.q_proj.${part}.weight`;
  return {
    ...{ [q(layer, 'lora_A.weight')]: undefined, [q(layer, 'lora_B.weight')]: undefined },
    ...{ [name('lora_A')]: [4, 16], [name('lora_B')]: [16, 4] },
  };
}

function magnitudes(shape: readonly number[]) {
  return Object.fromEntries([0, 1, 2].map((layer) => [q(layer, 'lora_magnitude_vector'), shape]));
}

function embedding(others: Record<string, number[] | undefined> = {}) {
  const own = { lora_embedding_A: [4, 40], lora_embedding_B: [16, 4], ...others };
  return Object.fromEntries(Object.entries(own).map(([ending, shape]) => [ofEmbedding(ending), shape]));
}

test('LoRA on the embedding, and trained tokens', () => {
  const pair = readWith(
    { rank_pattern: { embed_tokens: 2 } },
    embedding({ lora_embedding_A: [2, 40], lora_embedding_B: [16, 2] }),
  );
  assert.deepEqual([pair.embedding.pair!.r, pair.embedding.pair!.scaling, pair.r], [2, 4, 4]);
  assert.deepEqual([pair.targetModules, pair.embedding.tokens], [['q_proj', 'embed_tokens'], null]);
  const tokens = readWith({ trainable_token_indices: [3, 7] }, { [tokensDelta]: [2, 16] });
  assert.deepEqual([tokens.embedding.tokens!.ids, tokens.embedding.headTokens, tokens.warnings], [[3, 7], null, []]);
  assert.deepEqual([tokens.r, tokens.linearRanks, tokens.parameters], [4, 4, 3 * 2 * 64 + 32]);
  const indices = { embed_tokens: [3, 7], lm_head: [5] };
  const both = readWith({ trainable_token_indices: indices }, { [tokensDelta]: [2, 16], [headDelta]: [1, 16] });
  assert.deepEqual([both.embedding.tokens!.ids, both.embedding.headTokens!.ids], [[3, 7], [5]]);
  assert.deepEqual(both.targetModules, ['q_proj', 'lm_head', 'embed_tokens']);
});

test('trained tokens alone; a tied head follows them', () => {
  const config = {
    peft_type: 'TRAINABLE_TOKENS',
    token_indices: [3, 7],
    target_modules: 'model.embed_tokens',
    init_weights: true,
  };
  const header = headerOf({ [ofEmbedding('trainable_tokens_delta')]: [2, 16] });
  const read = (tiedEmbedding: boolean) => readPeftAdapter(bytesOf(config), header, { ...tinyShape, tiedEmbedding });
  const untied = read(false);
  assert.deepEqual([untied.pairs, untied.r, untied.embedding.headTokens], [[], 0, null]);
  const tied = read(true);
  assert.deepEqual([tied.embedding.headTokens, tied.linearRanks], [tied.embedding.tokens, 2]);
  const indices = { embed_tokens: [3, 7], lm_head: [3, 7] };
  const lora = { ...plainConfig, trainable_token_indices: indices };
  const beside = headerOf({ ...plainShapes, [tokensDelta]: [2, 16] });
  const following = readPeftAdapter(bytesOf(lora), beside, { ...tinyShape, tiedEmbedding: true });
  assert.deepEqual(following.embedding.headTokens!.ids, [3, 7]);
  assertBlames(() => readPeftAdapter(bytesOf(lora), beside, tinyShape), headDelta, /is missing/, 'adapter_invalid');
});

for (const [what, config, shapes, param] of invalid) {
  test(`invalid: ${what}`, () =>
    assertBlames(() => readWith(config, shapes), param, /^Invalid adapter: /, 'adapter_invalid'));
}
for (const [what, config, shapes, param] of unsupported) {
  test(`unsupported: ${what}`, () =>
    assertBlames(() => readWith(config, shapes), param, /^The adapter is not supported: /, 'adapter_unsupported'));
}

for (const type of ['F64', 'I8', 'F8_E4M3'] as const) {
  test(`unsupported: tensors of ${type}`, () =>
    assertBlames(() => readWith({}, {}, type), q(0, 'lora_A.weight'), new RegExp(type), 'adapter_unsupported'));
}

const broken: readonly [what: string, text: string | Uint8Array, reason: RegExp][] = [
  ['not JSON', '{', /not JSON/],
  ['a pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n', /is a Git LFS pointer/],
  ['a web page', '<!DOCTYPE html><html></html>', /is an HTML page/],
  ['a list', '[]', /is not an object/],
  ['null', 'null', /is not an object/],
  ['the same key twice', '{"r":4,"r":8}', /occurs twice/],
  ['the same key twice, deep down', '{"rank_pattern":{"q":1,"\\u0071":2}}', /occurs twice/],
  ['NaN', '{"lora_alpha":NaN}', /not JSON/],
  ['not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), /is not UTF-8/],
  ['a huge file', new Uint8Array(limits.configBytes + 1), /the limit is/],
];
for (const [what, text, reason] of broken) {
  test(`invalid: a config that is ${what}`, () => {
    const bytes = typeof text === 'string' ? bytesOf(text) : text;
    const read = () => readPeftAdapter(bytes, headerOf(plainShapes), tinyShape);
    assertBlames(read, 'adapter_config.json', reason, 'adapter_invalid');
  });
}

const accepted: readonly [what: string, config: Record<string, unknown>, warning: RegExp | null][] = [
  [
    'fields of training',
    { lora_dropout: 0.1, peft_version: '1', auto_mapping: { a: 1 }, eva_config: { rho: 2 } },
    null,
  ],
  ['fields at rest', { modules_to_save: null, bias: 'none', layer_replication: [], use_qalora: false, what: '' }, null],
  ['megatron_core as PEFT sets it', { megatron_core: 'megatron.core' }, null],
  ['empty patterns', { rank_pattern: {}, alpha_pattern: null }, null],
  ['another case', { target_modules: 'ALL-Linear' }, /18 modules that have no tensors/],
  ['an unused key', { rank_pattern: { c_attn: 2 } }, /1 keys of rank_pattern match no module, as "c_attn"/],
  ['fan_in_fan_out', { fan_in_fan_out: true }, /fan_in_fan_out has no effect/],
  ['an excluded target', { target_modules: ['q_proj', 'v_proj'], exclude_modules: 'model.*v_proj' }, null],
  ['null as absent', { lora_dropout: null, use_dora: null, fan_in_fan_out: null, peft_version: null }, null],
  ['a module that is not targeted', { target_modules: ['v_proj'] }, /3 modules have tensors that the config does not/],
  ['a layer that is not targeted', { layers_to_transform: [0, 1] }, /1 modules have tensors .*layers\.2/],
  ['an excluded module', { exclude_modules: ['q_proj'] }, /3 modules have tensors/],
  ['a module outside the pattern', { target_modules: '.*[02].*q_proj' }, /1 modules have tensors .*layers\.1/],
  ['a target without tensors', { target_modules: ['q_proj', 'v_proj'] }, /names "v_proj", for which there are no/],
  ['names of other models', { target_modules: ['c_attn', 'q_proj', 'query_key_value'] }, /"c_attn", "query_key_value"/],
  ['an empty target', { target_modules: ['q_proj', ''] }, /names "", for which/],
  ['an embedding that is only named', { target_modules: ['q_proj', 'embed_tokens'] }, /"embed_tokens", for which/],
  ['no target_modules', { target_modules: null }, /not compared with the tensors, .*target_modules is missing/],
  ['target_modules of numbers', { target_modules: [1] }, /not compared/],
  ['exclude_modules true', { exclude_modules: true }, /not compared/],
  ['layers_to_transform beside a pattern', { target_modules: '.*q_proj', layers_to_transform: 0 }, /not compared/],
  ['layers_pattern alone', { layers_pattern: 'layers' }, /not compared .*layers_pattern needs/],
  ['a look-ahead as target', { target_modules: '.*(?=q)q_proj' }, /not compared .*linear time/],
  ['a look-behind as target', { target_modules: '(?<!vision).*q_proj' }, /not compared .*linear time/],
  ['an unbalanced bracket', { exclude_modules: '(' }, /not compared/],
  ['a long pattern', { target_modules: 'q'.repeat(limits.adapterPatternChars + 1) }, /not compared .*longer than/],
  ['another base', { base_model_name_or_path: 'org/Other-1B' }, /was made for "org\/Other-1B"/],
  ['the same base elsewhere', { base_model_name_or_path: '/models/tiny-llama/' }, null],
];
for (const [what, config, warning] of accepted) {
  test(`accepted: ${what}`, () => {
    const bytes = bytesOf({ ...plainConfig, ...config });
    const { pairs, warnings } = readPeftAdapter(bytes, headerOf(plainShapes), tinyShape, 'org/Tiny-Llama');
    assert.equal(pairs.length, 3);
    if (warning === null) assert.deepEqual(warnings, []);
    else assert.match(warnings.join('\n'), warning);
  });
}

const spellings: readonly [what: string, spell: (name: string) => string][] = [
  ['without the prefix', (name) => name.replace('base_model.model.', '')],
  ['of an adapter with a name', (name) => name.replace('.weight', '.my-adapter.weight')],
  ['of the adapter that PEFT calls default', (name) => name.replace('.weight', '.default.weight')],
  ['of a compiled model', (name) => name.replace('base_model.model.', 'base_model.model._orig_mod.')],
  ['under FSDP', (name) => name.replace('.self_attn.', '._fsdp_wrapped_module.self_attn._checkpoint_wrapped_module.')],
  [
    'of the text model inside a larger one',
    (name) => name.replace('model.model.model.', 'model.model.model.language_model.'),
  ],
  [
    'of the text model in an older class',
    (name) => name.replace('model.model.model.', 'model.model.language_model.model.'),
  ],
  ['of a model without its head', (name) => name.replace('model.model.model.', 'model.model.')],
];
for (const [what, spell] of spellings) {
  test(`names ${what}`, () => {
    const shapes = Object.fromEntries(Object.entries(plainShapes).map(([name, shape]) => [spell(name), shape]));
    const { pairs, warnings } = readPeftAdapter(bytesOf(plainConfig), headerOf(shapes), tinyShape);
    assert.deepEqual(
      pairs.map(({ layer, module, r, scaling }) => [layer, module, r, scaling]),
      [0, 1, 2].map((layer) => [layer, 'q_proj', 4, 2]),
    );
    assert.deepEqual(warnings, []);
  });
}

test('frozen copies of the base are left out, and said', () => {
  const copies = {
    [headCopy]: [40, 16],
    [embeddingCopy]: [40, 16],
    'base_model.model.model.embed_tokens.base_layer.weight': [40, 16],
    [q(0, 'base_layer.weight')]: [16, 16],
  };
  const config = { target_modules: ['lm_head', 'q_proj'] };
  const { pairs, parameters, warnings } = readWith(config, { ...lmHead(), ...copies });
  assert.deepEqual([pairs.length, parameters], [4, 3 * 2 * 64 + 4 * (16 + 40)]);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /left out: .*lm_head\.base_layer\.weight/);
});

test('a resized vocabulary is refused with the number of tokens', () => {
  assert.throws(() => readWith({}, lmHead(42)), /42 tokens, 2 tokens more than the base model's 40/);
  assert.throws(() => readWith({}, { [embeddingCopy]: [32, 16] }), /32 tokens, 8 tokens fewer than the base/);
});

test('the expression that Unsloth writes, and its longer form', () => {
  const tags = (more: string) => `(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense${more})`;
  const names = '(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)';
  for (const more of ['', '|mixer']) {
    const layers = `(?:\\bmodel\\.layers\\.[\\d]{1,}\\.${tags(more)}\\.(?:${names}))`;
    const target_modules = `(?:.*?(?:language|text).*?${tags(more)}.*?${names}.*?)|${layers}`;
    const { pairs, warnings } = readWith({ target_modules });
    assert.equal(pairs.length, 3);
    assert.deepEqual(warnings, ['The config targets 18 modules that have no tensors; they stay as they are.']);
  }
});

test('magnitudes are read in every spelling', () => {
  for (const spelling of ['', '.weight', '.default', '.default.weight']) {
    for (const shape of [[16], [16, 1]]) {
      const vectors = [0, 1, 2].map((layer) => [q(layer, `lora_magnitude_vector${spelling}`), shape]);
      const { pairs, usesDora, parameters } = readWith({ use_dora: true }, Object.fromEntries(vectors));
      assert.ok(usesDora);
      assert.equal(parameters, 3 * (2 * 64 + 16));
      assert.equal(pairs[2]!.magnitude!.name, q(2, `lora_magnitude_vector${spelling}`));
    }
  }
});

test('names from outside are shortened and escaped', () => {
  const name = `\u001b[31m\n${'x'.repeat(1000)}`;
  assert.throws(
    () => readWith({}, { [name]: [1] }),
    (error) => {
      assert.ok(error instanceof LorikeetError);
      assert.ok(error.message.length < 300 && error.param!.length < 200);
      assert.doesNotMatch(error.message + error.param, /\p{Cc}/u);
      return true;
    },
  );
});

const fields = [
  ...['peft_type', 'task_type', 'r', 'lora_alpha', 'rank_pattern', 'alpha_pattern', 'use_rslora', 'use_dora', 'bias'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'fan_in_fan_out', 'what'],
];
const anyText = fc.oneof(
  fc.constantFrom('q_proj', 'LORA', 'all-linear', '.*', '(', 'layers', '__proto__'),
  fc.string(),
);
const anyValue = fc.oneof(
  fc.constantFrom(null, true, false, 0, 1, 4, 4.5, -1, 1e308),
  anyText,
  fc.array(fc.oneof(anyText, fc.integer()), { maxLength: 3 }),
  fc.dictionary(anyText, fc.oneof(fc.integer({ min: -1, max: 9 }), anyText), { maxKeys: 3 }),
  fc.jsonValue(),
);

test('any config is read or refused, and what is read agrees with the tensors', () => {
  const anyConfig = fc.dictionary(fc.constantFrom(...fields), anyValue, { maxKeys: 3 });
  fc.assert(
    fc.property(anyConfig, (config) => {
      accepts(() => {
        const { pairs, r } = readWith(config);
        assert.equal(pairs.length, 3);
        assert.equal(r, 4);
        for (const pair of pairs) assert.ok(pair.r === 4 && Number.isFinite(pair.scaling));
      });
    }),
    { numRuns: 3000 },
  );
});

test('the digest is that of a text that a shell can write', () => {
  const [config, weights] = ['a'.repeat(64), 'b'.repeat(64)];
  // printf 'adapter_config.json %s\nadapter_model.safetensors %s\n' aa... bb... | sha256sum
  const expected = 'sha256:89fecd1b77aa510b9b0dbb2363e8952653a5090cbf7ecebdfa31d20c17a25391';
  assert.equal(adapterDigest(config, weights), expected);
  assert.notEqual(adapterDigest(weights, config), expected);
});
