// The training graph of a lowered model: loss of a batch and its derivatives by the adapter's matrices. The base is
// frozen and gets none.

import type { OnnxGraph } from '../formats/onnx.ts';
import type { LoweredModel } from './lowered.ts';
import type { TrainingForm } from './training-form.ts';

/** Weights are left to the session: names as in `LoweredModel`, plus `cos` and `sin`. */
export function buildTrainingGraph(_model: LoweredModel, _form: TrainingForm): OnnxGraph {
  throw new Error('The training graph is not written yet.');
}
