// What the parts of a training graph share: the operators collected so far, the weights that they read, the trained
// targets, the floats of products, and the order of execution.
//
// Operands and results of products are floats of the form's precision; all else is float32. In bfloat16 the split is
// that of torch's autocast, except that autocast leaves the gate in bfloat16: an operand is rounded, and a result is
// cast to float32 for norms, rotary positions, softmax, the gate, the residual stream and the loss. In float32 an
// operand is the tensor itself, and nothing is cast.

import { fusedModules, linearSize } from '../core/adapter.ts';
import { type ModelPlan, modelPlan } from '../core/layer-plan.ts';
import type { TrainingPrecision } from '../core/training-precision.ts';
import { dataTypes } from '../formats/onnx.ts';
import { type JoinedLinear, joinedLinears } from './adapted-linear.ts';
import { createGraphBuilder, type GraphBuilder } from './graph-builder.ts';
import type { LoweredModel, LoweredTensor, RoundedTensor } from './lowered.ts';
import { inPrecision, type OperatorModel, operatorForm } from './operator-form.ts';
import type { GraphTarget } from './target.ts';
import { type TrainedModule, type TrainingForm, type TrainTarget, trainingNames } from './training-form.ts';

/** A target with its index in the form. */
export type Target = TrainTarget & { readonly index: number };

export type TrainingBuilder = {
  readonly g: GraphBuilder;
  readonly model: OperatorModel;
  readonly plan: ModelPlan;
  readonly form: TrainingForm;
  readonly on: GraphTarget['on'];
  /** Floats of products. */
  readonly precision: TrainingPrecision;
  readonly weights: ReadonlyMap<string, LoweredTensor | RoundedTensor>;
  /** Adds an initialiser over memory of the model. */
  weight(name: string, tensor: LoweredTensor | RoundedTensor): string;
  /** Adds an initialiser of the model under its own name. */
  own(name: string): string;
  /** Adds it as an operand of products. */
  ownOperand(name: string): string;
  /** float32 `x` as an operand, rounded once for all products that read it. */
  operand(x: string): string;
  /** An operand or a product in float32, cast once for all readers; `result` names the tensor. */
  floats(y: string, result?: string): string;
  target(layer: number, module: TrainedModule): Target | null;
  /** Whether a module below the linear is trained, so that the linear's input needs a derivative. */
  reachesBelow(layer: number, linear: JoinedLinear): boolean;
};

/** A layer's linears from the bottom up. */
const places: readonly JoinedLinear[] = ['qkv', 'output', 'gate_up', 'down'];
const depth = (layer: number, linear: JoinedLinear) => layer * places.length + places.indexOf(linear);

/**
 * @param lowered on the host, codes of 4 and 8 bits stay in the native operators' packing; all else takes that of ONNX
 * Runtime's
 */
export function createTrainingBuilder(lowered: LoweredModel, form: TrainingForm): TrainingBuilder {
  const on = form.on ?? 'host';
  const { precision = 'float32' } = form;
  if (on === 'host' && precision !== 'float32') throw new Error(`The host trains with float32, not ${precision}.`);
  const model = operatorForm(lowered, on === 'host' ? 'floats' : 'all', precision);
  const g = createGraphBuilder();
  const weights = new Map<string, LoweredTensor | RoundedTensor>();
  const targets = new Map(
    form.targets.map((target, index) => [key(target.layer, target.module), { ...target, index }]),
  );
  const lowest = Math.min(...form.targets.map(({ layer, module }) => depth(layer, joinedLinearOf(module))));
  for (const { layer, module, r } of form.targets) {
    const size = linearSize(model.shape, module);
    g.input(trainingNames.a(layer, module), 'float32', [r, size.in]);
    g.input(trainingNames.b(layer, module), 'float32', [size.out, r]);
  }
  const weight = (name: string, tensor: LoweredTensor | RoundedTensor) => {
    weights.set(name, tensor);
    return g.weight(name, tensor.type, tensor.shape);
  };
  return {
    g,
    model,
    plan: modelPlan(model.shape),
    form,
    on,
    precision,
    weights,
    weight,
    own: (name) => weight(name, model.weights.get(name)!),
    ownOperand: (name) => weight(name, inPrecision(model.weights.get(name)!, precision)),
    operand: (x) => g.cast(x, precision),
    floats(y, result) {
      if (result === undefined) return g.cast(y, 'float32', precision);
      return g.op('Cast', [y], { to: dataTypes.float32 }, result);
    },
    target: (layer, module) => targets.get(key(layer, module)) ?? null,
    reachesBelow: (layer, linear) => lowest < depth(layer, linear),
  };
}

const key = (layer: number, module: TrainedModule) => `${layer}.${module}`;

/** A module of fused rows is a joined linear as it is. */
function joinedLinearOf(module: TrainedModule): JoinedLinear {
  const [first] = module in fusedModules ? fusedModules[module as keyof typeof fusedModules] : [module];
  const found = places.find((linear) => (joinedLinears[linear] as readonly TrainedModule[]).includes(first));
  if (!found) throw new Error(`${module} cannot be trained.`);
  return found;
}

/**
 * `x`, whose shape is `shape`, but not before every tensor of `first` is computed. The runtime computes what an
 * operator reads in an order of its own, which keeps floats of all layers in memory. A shape that depends on `first`
 * costs nothing and fixes the order. A device computes no shapes: it multiplies by a one that depends on `first`.
 * @param type of x
 */
export function after(
  { g, on }: TrainingBuilder,
  x: string,
  shape: readonly number[],
  first: readonly string[],
  type: TrainingPrecision = 'float32',
): string {
  // An empty slice of a shape: has no values, and depends on its tensor.
  const part = (name: string) => g.op('Shape', [name], { start: 0, end: 0 });
  if (on === 'device') {
    const one = first.reduce((waiting, name) => g.op('Expand', [waiting, part(name)]), oneOf(g, type));
    return g.op('Mul', [x, one]);
  }
  const waits = first.map(part);
  return g.op('Reshape', [x, g.op('Concat', [g.integers(`shape_${shape.join('_')}`, shape), ...waits], { axis: 0 })]);
}

const oneOf = (g: GraphBuilder, type: TrainingPrecision) =>
  type === 'float32' ? g.float('one', 1) : g.float('one_rounded', 1, type);

/**
 * In float32 an operand or product that the forward pass keeps. A rounded one is cast after `first` only, so that until
 * then it is kept in 2 bytes a number.
 */
export function keptFloats(t: TrainingBuilder, y: string, first: readonly string[]): string {
  return t.precision === 'float32' ? y : t.floats(after(t, y, [], first, t.precision));
}
