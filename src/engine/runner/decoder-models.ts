// The models of a decoder: the base, and models merged from it, which share with it the weights that the merge did not
// change. Knows sessions and weights; knows no rows and no bindings.

import { withoutAdapters } from '../../graph/decoder.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { MergedModel } from './merged-model.ts';
import {
  baseWeights,
  createModelSessions,
  type ModelSessions,
  type ModelWeights,
  mergedWeights,
  type SessionForm,
} from './model-sessions.ts';

/** `id` distinguishes the model's bindings from those of others. */
export type DecoderModel = {
  readonly id: number;
  readonly sessions: ModelSessions;
  /**
   * Room for `count` numbers of a result. It stays the same until the model asks for more, and no other model writes to
   * it.
   */
  logits(count: number): Float32Array<ArrayBuffer>;
};

export type DecoderModels = {
  /** Throws for a merged model that was removed. */
  of(merged: MergedModel | null): DecoderModel;
  /** Holds nothing after an error. */
  add(lowered: LoweredModel, embedding: MergedModel['embedding']): Promise<MergedModel>;
  remove(merged: MergedModel): Promise<void>;
  release(): Promise<void>;
};

export type DecoderModelsOptions = {
  readonly form: SessionForm;
  /** Number of logits in a full batch. */
  readonly logits: number;
  /** Called before a merged model is added and after one was removed, with the number of merged models then. */
  readonly onChange: (merged: number) => Promise<void>;
  /** Called before a model is released, to release its bindings. */
  readonly onRelease: (id: number) => void;
};

export function createDecoderModels(
  runtime: Runtime,
  base: LoweredModel,
  { form, logits, onChange, onRelease }: DecoderModelsOptions,
): DecoderModels {
  let ids = 0;
  const open = (model: LoweredModel, weights: ModelWeights): DecoderModel => {
    let buffer = new Float32Array(0);
    return {
      id: ids++,
      sessions: createModelSessions(runtime, model, weights, form),
      logits(count) {
        if (buffer.length < count) buffer = new Float32Array(Math.max(count, logits));
        return buffer.subarray(0, count);
      },
    };
  };
  const release = ({ id, sessions }: DecoderModel) => {
    onRelease(id);
    return sessions.release();
  };
  const weights = baseWeights(runtime, base, form);
  const baseModel = open(base, weights);
  const merges = new Map<MergedModel, DecoderModel>();
  const of = (merged: MergedModel | null) => {
    const model = merged === null ? baseModel : merges.get(merged);
    if (!model) throw new Error('the merged model is not there');
    return model;
  };
  return {
    of,
    async add(lowered, embedding) {
      const model = open(lowered, mergedWeights(runtime, lowered, base, weights, form.target.real));
      try {
        await onChange(merges.size + 1);
        await model.sessions.of(withoutAdapters, { aside: true });
        if (embedding.length > 0) await model.sessions.of(withoutAdapters, { aside: true, given: true });
      } catch (error) {
        await release(model);
        await onChange(merges.size);
        throw error;
      }
      const merged: MergedModel = { id: model.id, embedding };
      merges.set(merged, model);
      return merged;
    },
    async remove(merged) {
      const model = of(merged);
      merges.delete(merged);
      await release(model);
      await onChange(merges.size);
      await runtime.giveBackFreeMemory();
    },
    async release() {
      for (const model of [...merges.values(), baseModel]) await release(model);
      for (const tensor of weights.shared.values()) tensor.release();
    },
  };
}
