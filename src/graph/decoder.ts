// The decoder as an ONNX graph over a lowered model. A batch is B sequences with R new tokens in all; activations are
// [R, width], and only attention knows sequences.
//
//   x = embedding(tokens [R])
//   each layer:  x += output(attention(qkv(norm(x))))      KV pool read and written in place
//                x += down(silu(gate(norm(x))) * up(norm(x)))
//   logits [S, vocabulary] = head(norm(x[sampled])), or norm(x[sampled]) itself: hidden [S, width]
//
// A layer's plan (core/layer-plan.ts) gives everything beyond that: windows, rotary tables, scales, caps, norms of
// outputs.
//
// On the processor linears and attention are native operators. Attention has two forms. Over blocks of a pool,
// sequences bring any number of new tokens each: PagedAttention, the project's on the processor and ONNX Runtime's on a
// card. Over neighbouring rows of a pool, all bring equally many: ONNX Runtime's GroupQueryAttention, on a device. Both
// apply rotary positions and write only the new tokens, in place. Inputs and outputs are named in `decoderNames`.

import { linearSize } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { type LayerPlan, modelPlan } from '../core/layer-plan.ts';
import { dataTypes, type OnnxGraph } from '../formats/onnx.ts';
import {
  type AdaptedLinear,
  type AdapterOperators,
  type AdaptersInGraph,
  type DecoderResult,
  hasLinear,
  type JoinedLinear,
  joinedLinears,
  loweredName,
} from './adapted-linear.ts';
import { tileAttributes } from './card-form.ts';
import { deviceAdapters } from './device-adapters.ts';
import { createGraphBuilder, type GraphBuilder } from './graph-builder.ts';
import { groupedAdapters } from './grouped-adapters.ts';
import { addTables, hostAdapters } from './host-adapters.ts';
import { deviceLinear, hostLinear, type LinearRows, packedAttributes } from './linear.ts';
import type { LoweredModel } from './lowered.ts';
import { embeddingForm } from './packed.ts';
import { deviceStream, hostStream, normalized } from './residual-stream.ts';
import { rotaryPairs, tableNames, tablesOf } from './rope.ts';
import { softCap } from './soft-cap.ts';
import { type BlockForm, type GraphTarget, type HostReal, hostTarget, poolShapes, type Real } from './target.ts';

/** Names of inputs and outputs. `logits`, `hidden` and `present` are outputs, all others inputs. */
export const decoderNames = {
  /** int64 [R], row-major: all tokens of sequence 0, then of sequence 1, ... */
  tokens: 'tokens',
  /** float32 [G, hidden], on the processor: embeddings that take the place of tokens' own. */
  given: 'given_embeddings',
  /** int64 [G, 1]: rows of R that `given` replaces. */
  givenRows: 'given_rows',
  /** int32 [B + 1], over blocks: where each sequence's new tokens begin, and R. */
  cumulative: 'cumulative_lengths',
  /** int32 [B], over blocks: tokens that a sequence's blocks hold before this run. */
  past: 'past_lengths',
  /** int32 [B, most], over blocks: each sequence's blocks in the order of positions. */
  table: 'block_table',
  /**
   * int32 [3], in the processor's memory, for ONNX Runtime's operator over blocks: most new tokens of a sequence, an
   * upper bound of the longest sequence after this run, and a lower bound of it.
   */
  bounds: 'length_bounds',
  /** int32 [1], on the processor: this many first rows of R are rounded to 8 bits, the others to 16. */
  coarse: 'coarse_rows',
  /** int32 [1], on the processor: the same for the rows of S. */
  coarseSampled: 'coarse_sampled',
  /** int64 [3] = [B, T, -1], over rows: every sequence has T new tokens. */
  batchShape: 'batch_shape',
  /** int32 [B], over rows: tokens of each sequence after this run, less one. */
  lastPositions: 'last_positions',
  /** int32 [1], over rows: the largest of `lastPositions`, plus one. */
  totalLength: 'total_length',
  /** int64 [S]: rows of R whose result is wanted. */
  sampled: 'sampled',
  /** Keys and values, read and written in place: `poolShapes` over blocks, or rows [B, kvHeads, positions, headDim]. */
  key: (layer: number) => `key.${layer}`,
  value: (layer: number) => `value.${layer}`,
  /** The same memory as an output, over rows: ONNX requires a second name. */
  present: (name: string) => `present.${name}`,
  /** float32 [S, vocabulary] */
  logits: 'logits',
  /** float32 [S, hidden], in place of logits: the head's input. */
  hidden: 'hidden',
} as const;

export type DecoderForm = {
  readonly positions: number;
  readonly adapters: AdaptersInGraph;
  /** Element type of the KV cache on the processor; float16 by default. A device takes its target's `real`. */
  readonly kvType?: HostReal;
  /** The host by default. */
  readonly target?: GraphTarget;
  /** Logits by default. */
  readonly result?: DecoderResult;
  /** Whether some rows have embeddings of their own, on the processor; false by default. */
  readonly given?: boolean;
};

export const withoutAdapters: AdaptersInGraph = { form: 'none' };

/** Weights are given to the session: their names are those of `LoweredModel`, and of the rotary tables. */
export function buildDecoder(model: LoweredModel, form: DecoderForm): OnnxGraph {
  const { positions, target = hostTarget, result = 'logits', given = false } = form;
  const { real } = target;
  const { shape } = model;
  const g = createGraphBuilder();
  const names = decoderNames;
  g.input(names.tokens, 'int64', ['R']);
  addSequenceInputs(g, target);
  g.input(names.sampled, 'int64', ['S']);
  for (const table of tablesOf(shape)) {
    for (const name of Object.values(tableNames[table])) g.weight(name, real, [positions, rotaryPairs(shape)]);
  }
  for (const [name, { type, shape: dimensions }] of model.weights) {
    g.weight(name, type === 'float32' ? real : type, dimensions);
  }
  const project = target.on === 'device' ? deviceProjection(g, model, form, target) : hostProjection(g, model, form);
  const attend = attentionOf(target);
  const plan = modelPlan(shape);
  const ofTokens = timesScale(g, embed(g, model, target), plan.embeddingScale, real);
  const embedded = given ? withGiven(g, ofTokens, shape) : ofTokens;
  const stream =
    target.on === 'device' ? deviceStream(g, plan.epsilon, target, embedded) : hostStream(g, plan.epsilon, embedded);
  for (const [i, layer] of plan.layers.entries()) {
    const name = `layers.${i}`;
    const norm = (linear: 'output' | 'down') => (layer.outputNorms ? `${name}.${linear}_norm` : null);
    const qkv = project(i, 'qkv')(stream.normed(`${name}.attention_norm`));
    const attended = attend(g, model, { layer: i, plan: layer, qkv }, form);
    stream.add({ x: attended }, project(i, 'output'), norm('output'));
    const gateUp = project(i, 'gate_up')(stream.normed(`${name}.mlp_norm`));
    stream.add(stream.gated(gateUp, layer.activation, shape.intermediate), project(i, 'down'), norm('down'));
  }
  // The other rows are not read any more: the last norm and the head run on the sampled rows alone.
  stream.take(names.sampled);
  if (result === 'hidden') {
    const { x, norm } = stream.normed('norm');
    const rows = norm ? normalized(g, x, norm.weight, norm.epsilon) : x;
    g.op('Cast', [rows], { to: dataTypes.float32 }, names.hidden);
    g.output(names.hidden, 'float32', ['S', shape.hidden]);
    return g.build();
  }
  const head = project(0, 'head');
  const inFloat = (x: string, result?: string) =>
    real === 'float32' ? x : g.op('Cast', [x], { to: dataTypes.float32 }, result);
  if (plan.logitsSoftcap > 0) softCap(g, inFloat(head(stream.normed('norm'))), plan.logitsSoftcap, names.logits);
  else if (real === 'float32') head(stream.normed('norm'), names.logits);
  else inFloat(head(stream.normed('norm')), names.logits);
  g.output(names.logits, 'float32', ['S', shape.vocabulary]);
  return g.build();
}

/** Applies a linear of the lowered model, with what adapters add to it. */
type Projection = (layer: number, joined: JoinedLinear) => (rows: LinearRows, result?: string) => string;

function adaptedLinear({ shape }: LoweredModel, layer: number, linear: JoinedLinear): AdaptedLinear {
  const sizes = joinedLinears[linear].map((module) => linearSize(shape, module));
  return { layer, linear, in: sizes[0]!.in, outs: sizes.map(({ out }) => out) };
}

function hostProjection(
  g: GraphBuilder,
  model: LoweredModel,
  { adapters, result = 'logits' }: DecoderForm,
): Projection {
  const form = adapters.form === 'grouped' ? adapters : null;
  const all = Object.keys(joinedLinears) as JoinedLinear[];
  const linears = all.filter((linear) => hasLinear(result, linear));
  if (form) addTables(g, form, linears);
  return (layer, joined) => (rows, result) => {
    const name = loweredName(layer, joined);
    const coarse = joined === 'head' ? decoderNames.coarseSampled : decoderNames.coarse;
    const adapted = form ? hostAdapters(g, form, adaptedLinear(model, layer, joined)) : undefined;
    return hostLinear(g, { name, form: model.linears.get(name)!, coarse }, rows, adapted, result);
  };
}

function deviceProjection(
  g: GraphBuilder,
  model: LoweredModel,
  { adapters, result = 'logits' }: DecoderForm,
  target: GraphTarget,
): Projection {
  const operators = operatorsOf(adapters);
  const linears = operators?.linears.filter((linear) => hasLinear(result, linear)) ?? [];
  operators?.addInputs(g, linears);
  return (layer, joined) =>
    ({ x }, result) => {
      const name = loweredName(layer, joined);
      const form = model.linears.get(name)!;
      if (!operators?.linears.includes(joined)) return deviceLinear(g, target, { name, form }, x, result);
      const adapted = { ...adaptedLinear(model, layer, joined), target };
      // DoRA's gain multiplies the weights and not the bias, which is added after it.
      const isBiasLater = operators.gains && form.bias;
      const base = deviceLinear(g, target, { name, form: { ...form, bias: form.bias && !isBiasLater } }, x);
      if (!isBiasLater) return operators.add(g, adapted, { x, base }, result);
      return g.op('Add', [operators.add(g, adapted, { x, base }), `${name}.bias`], {}, result);
    };
}

function operatorsOf(adapters: AdaptersInGraph): AdapterOperators | null {
  if (adapters.form === 'none' || adapters.form === 'grouped') return null;
  return adapters.form === 'table' ? groupedAdapters(adapters) : deviceAdapters(adapters);
}

function embed(g: GraphBuilder, model: LoweredModel, { on, real, hasOperators }: GraphTarget): string {
  if (model.weights.has('embedding')) return g.op('Gather', ['embedding', decoderNames.tokens]);
  const head = model.linears.get('head')!;
  // The head's rows are the embedding: both share one memory. Where the head is merged, the base's embedding lies
  // beside it.
  if (on === 'host' || hasOperators) {
    const kept = model.weights.has('embedding.packed');
    const operands = [decoderNames.tokens, kept ? 'embedding.packed' : 'head.packed'];
    const attributes = on === 'host' ? packedAttributes : tileAttributes;
    return g.native('QuantizedEmbedding', operands, attributes(kept ? embeddingForm(model) : head));
  }
  const operands = [embeddingView.blocks, decoderNames.tokens, embeddingView.scales];
  if (!model.weights.has(embeddingView.blocks)) {
    g.weight(embeddingView.blocks, 'uint8', [head.n, head.k]);
    g.weight(embeddingView.scales, real, [head.n, head.k / 32]);
  }
  const attributes = { bits: 8, block_size: 32, gather_axis: 0, quantize_axis: 1 };
  return g.contrib('GatherBlockQuantized', operands, attributes)[0]!;
}

/** Replaces embeddings of rows by given ones, which are as the residual stream has them. */
function withGiven(g: GraphBuilder, embedded: string, { hidden }: ModelShape): string {
  const { given, givenRows } = decoderNames;
  g.input(given, 'float32', ['G', hidden]);
  g.input(givenRows, 'int64', ['G', 1]);
  return g.op('ScatterND', [embedded, givenRows, given]);
}

/** Names of a tied 8-bit head's memory in the shapes [vocabulary, hidden] and [vocabulary, hidden / 32]. */
export const embeddingView = { blocks: 'embedding.blocks', scales: 'embedding.scales' } as const;

function addSequenceInputs(g: GraphBuilder, { on, blocks }: GraphTarget): void {
  const { cumulative, past, table, bounds, coarse, coarseSampled } = decoderNames;
  const { batchShape, lastPositions, totalLength } = decoderNames;
  if (on === 'host') {
    g.input(coarse, 'int32', [1]);
    g.input(coarseSampled, 'int32', [1]);
  }
  if (blocks) {
    g.input(cumulative, 'int32', ['B + 1']);
    g.input(past, 'int32', ['B']);
    g.input(table, 'int32', ['B', 'most']);
    if (blocks.operator === 'runtime') g.input(bounds, 'int32', [3]);
    return;
  }
  g.input(batchShape, 'int64', [3]);
  g.input(lastPositions, 'int32', ['B']);
  g.input(totalLength, 'int32', [1]);
}

type AttentionLayer = { readonly layer: number; readonly plan: LayerPlan; readonly qkv: string };

type Attention = (g: GraphBuilder, model: LoweredModel, layer: AttentionLayer, form: DecoderForm) => string;

function attentionOf({ blocks }: GraphTarget): Attention {
  if (!blocks) return attendRows;
  const attend = blocks.operator === 'own' ? attendBlocks : attendBlocksOfRuntime;
  return (g, model, layer, form) => attend(g, model, layer, { ...form, blocks });
}

type OverBlocks = DecoderForm & { readonly blocks: BlockForm };

/**
 * Attention over blocks of a pool, for sequences with any number of new tokens: [R, heads * headDim]. The operator
 * norms heads itself.
 */
function attendBlocks(
  g: GraphBuilder,
  { shape, weights }: LoweredModel,
  { layer, plan, qkv }: AttentionLayer,
  { target = hostTarget, kvType = 'float16', blocks }: OverBlocks,
): string {
  const { heads, kvHeads, rmsNormEps } = shape;
  const { cumulative, past, table } = decoderNames;
  const { cos, sin } = tableNames[plan.rope ?? 'none'];
  const type = target.on === 'host' ? kvType : target.real;
  const { keys, values } = poolInputs(g, shape, layer, type, blocks);
  const norms = headNorms(layer).filter((name) => weights.has(name));
  const operator = type === 'float16' ? 'PagedAttention' : 'PagedAttentionFloat';
  const attributes = {
    ...{ num_heads: heads, kv_num_heads: kvHeads, epsilon: { float: rmsNormEps }, scale: { float: plan.scale } },
    ...windowAndCap(plan),
  };
  return g.native(operator, [qkv, keys, values, cumulative, past, table, cos, sin, ...norms], attributes);
}

/** As `attendBlocks`, by ONNX Runtime's operator, which has kernels for CUDA in float16 and bfloat16. */
function attendBlocksOfRuntime(
  g: GraphBuilder,
  { shape, weights }: LoweredModel,
  { layer, plan, qkv }: AttentionLayer,
  { target = hostTarget, blocks }: OverBlocks,
): string {
  const { heads, kvHeads, rmsNormEps } = shape;
  const { cumulative, past, table, bounds } = decoderNames;
  const { cos, sin } = tableNames[plan.rope ?? 'none'];
  const { keys, values } = poolInputs(g, shape, layer, target.real, blocks);
  const norms = headNorms(layer).map((name) => (weights.has(name) ? name : ''));
  // The empty operands are separate keys and values, slots to write to, sinks, and scales of quantised keys and values.
  const pools = [keys, values, cumulative, past, table, cos, sin];
  const operands = [qkv, '', '', ...pools, '', '', ...norms, '', '', bounds];
  const attributes = {
    ...{ num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: { float: plan.scale } },
    ...{ qk_norm_epsilon: { float: rmsNormEps } },
    ...windowAndCap(plan),
  };
  return g.contrib('PagedAttention', operands, attributes)[0]!;
}

function poolInputs(g: GraphBuilder, shape: ModelShape, layer: number, type: Real, blocks: BlockForm) {
  const of = (dimensions: readonly number[]) => ['blocks', ...dimensions.slice(1)];
  const { keys, values } = poolShapes(blocks, shape, 0);
  return {
    keys: g.input(decoderNames.key(layer), type, of(keys)),
    values: g.input(decoderNames.value(layer), type, of(values)),
  };
}

const headNorms = (layer: number) => [`layers.${layer}.q_norm`, `layers.${layer}.k_norm`];

/** Attributes of both operators for a window and a cap; none for a layer without. */
const windowAndCap = ({ window, softcap }: LayerPlan) => ({
  ...(window === null ? {} : { local_window_size: window }),
  ...(softcap === 0 ? {} : { softcap: { float: softcap } }),
});

/** Attention over neighbouring rows of a pool with equally many new tokens each: [R, heads * headDim]. */
function attendRows(
  g: GraphBuilder,
  model: LoweredModel,
  { layer, plan, qkv }: AttentionLayer,
  { positions, target: { real } = hostTarget }: DecoderForm,
): string {
  const { shape } = model;
  const { heads, kvHeads, headDim } = shape;
  const pool = ['B', kvHeads, positions, headDim];
  const key = g.input(decoderNames.key(layer), real, pool);
  const value = g.input(decoderNames.value(layer), real, pool);
  const presents = [key, value].map((name) => g.output(decoderNames.present(name), real, pool));

  const inBatch = (rows: string) => g.op('Reshape', [rows, decoderNames.batchShape]);
  let operands = [inBatch(qkv), '', ''];
  if (model.weights.has(`layers.${layer}.q_norm`)) {
    const widths = g.integers('qkv_widths', [heads * headDim, kvHeads * headDim, kvHeads * headDim]);
    const [q, k, v] = g.split(qkv, widths, 3) as [string, string, string];
    operands = [
      inBatch(headNorm(g, shape, q, `layers.${layer}.q_norm`, heads)),
      inBatch(headNorm(g, shape, k, `layers.${layer}.k_norm`, kvHeads)),
      inBatch(v),
    ];
  }
  const { lastPositions, totalLength } = decoderNames;
  const { cos, sin } = tableNames[plan.rope ?? 'none'];
  const [attended] = g.contrib(
    'GroupQueryAttention',
    [...operands, key, value, lastPositions, totalLength, cos, sin],
    { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: { float: plan.scale }, ...windowAndCap(plan) },
    [null, ...presents],
  );
  return g.op('Reshape', [attended!, g.integers('rows', [-1, heads * headDim])]);
}

/** RMS norm of each head separately: [R, count * headDim]. */
function headNorm(g: GraphBuilder, shape: ModelShape, x: string, weight: string, count: number): string {
  const split = g.op('Reshape', [x, g.integers('by_head', [-1, shape.headDim])]);
  const joined = g.integers(`${count}_heads`, [-1, count * shape.headDim]);
  return g.op('Reshape', [normalized(g, split, weight, shape.rmsNormEps), joined]);
}

function timesScale(g: GraphBuilder, x: string, scale: number, real: Real): string {
  if (scale === 1) return x;
  const factor = g.float('embedding_scale', scale);
  return g.op('Mul', [x, real === 'float32' ? factor : g.op('Cast', [factor], { to: dataTypes[real] })]);
}
