// Which weights a name means. Only the base model has a name until there are adapters; any other is a 404 and never
// quietly the base model's answer.

import { LorikeetError } from '../core/errors.ts';
import type { ModelCard } from './schemas/models.ts';
import type { Services } from './services.ts';

export function checkModel({ model }: Services, name: string | undefined, param = 'model'): void {
  if (name === undefined || name === model.name) return;
  throw new LorikeetError('model_not_found', { message: `The model '${name}' does not exist.`, param });
}

/** Refuses adapters of a generation request, of which none exist. */
export function checkAdapters(body: {
  adapter_id?: string;
  adapter_scale?: number;
  adapters?: readonly { id: string }[];
}): void {
  const missing = (id: string, param: string) =>
    new LorikeetError('model_not_found', { message: `The adapter '${id}' does not exist.`, param });
  const first = body.adapters?.[0];
  if (body.adapter_id !== undefined) throw missing(body.adapter_id, 'adapter_id');
  if (first !== undefined) throw missing(first.id, 'adapters[0].id');
  if (body.adapter_scale !== undefined) {
    const message = 'adapter_scale needs adapter_id.';
    throw new LorikeetError('invalid_parameter', { message, param: 'adapter_scale' });
  }
}

export function baseModelCard({ model, engine }: Services): ModelCard {
  return {
    id: model.name,
    object: 'model',
    created: Math.floor(model.createdAt / 1000),
    owned_by: 'lorikeet',
    root: model.digest,
    parent: null,
    max_model_len: engine.info?.maxContext ?? null,
    permission: [],
  };
}
