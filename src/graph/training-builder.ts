// What the parts of a training graph share: the operators collected so far, the weights that they read, the trained
// targets, and the order of execution.

import { fusedModules, linearSize } from '../core/adapter.ts';
import { type ModelPlan, modelPlan } from '../core/layer-plan.ts';
import { type JoinedLinear, joinedLinears } from './adapted-linear.ts';
import { createGraphBuilder, type GraphBuilder } from './graph-builder.ts';
import type { LoweredModel, LoweredTensor } from './lowered.ts';
import { operatorForm } from './operator-form.ts';
import type { GraphTarget } from './target.ts';
import { type TrainedModule, type TrainingForm, type TrainTarget, trainingNames } from './training-form.ts';

/** A target with its index in the form. */
export type Target = TrainTarget & { readonly index: number };

export type TrainingBuilder = {
  readonly g: GraphBuilder;
  readonly model: LoweredModel;
  readonly plan: ModelPlan;
  readonly form: TrainingForm;
  readonly on: GraphTarget['on'];
  readonly weights: ReadonlyMap<string, LoweredTensor>;
  /** Adds an initialiser over memory of the model. */
  weight(name: string, tensor: LoweredTensor): string;
  /** Adds an initialiser of the model under its own name. */
  own(name: string): string;
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
  const model = operatorForm(lowered, on === 'host' ? 'floats' : 'all');
  const g = createGraphBuilder();
  const weights = new Map<string, LoweredTensor>();
  const targets = new Map(
    form.targets.map((target, index) => [key(target.layer, target.module), { ...target, index }]),
  );
  const lowest = Math.min(...form.targets.map(({ layer, module }) => depth(layer, joinedLinearOf(module))));
  for (const { layer, module, r } of form.targets) {
    const size = linearSize(model.shape, module);
    g.input(trainingNames.a(layer, module), 'float32', [r, size.in]);
    g.input(trainingNames.b(layer, module), 'float32', [size.out, r]);
  }
  const weight = (name: string, tensor: LoweredTensor) => {
    weights.set(name, tensor);
    return g.weight(name, tensor.type, tensor.shape);
  };
  return {
    g,
    model,
    plan: modelPlan(model.shape),
    form,
    on,
    weights,
    weight,
    own: (name) => weight(name, model.weights.get(name)!),
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
 */
export function after(
  { g, on }: TrainingBuilder,
  x: string,
  shape: readonly number[],
  first: readonly string[],
): string {
  // An empty slice of a shape: has no values, and depends on its tensor.
  const part = (name: string) => g.op('Shape', [name], { start: 0, end: 0 });
  if (on === 'device') {
    const one = first.reduce((waiting, name) => g.op('Expand', [waiting, part(name)]), g.float('one', 1));
    return g.op('Mul', [x, one]);
  }
  const waits = first.map(part);
  return g.op('Reshape', [x, g.op('Concat', [g.integers(`shape_${shape.join('_')}`, shape), ...waits], { axis: 0 })]);
}
