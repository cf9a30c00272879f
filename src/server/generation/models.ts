// Resolves the fields that name weights: `model` of OpenAI's routes, `adapter_id` and `adapters` of this server's own.
// The registry looks an adapter's name up later, when the request leases it. An unknown name is an error, and is never
// answered by the base model.

import { LorikeetError } from '../../core/errors.ts';
import type { AdapterVersion } from '../../registry/adapter-registry.ts';
import type { NamedAdapter } from '../adapters/held-adapters.ts';
import { epochSeconds } from '../http/epoch-seconds.ts';
import type { ModelCard } from '../schemas/models.ts';
import type { Services } from '../services.ts';

/** Names that clients of text-generation-inference and huggingface_hub send where their user names no model. */
const unnamed: readonly string[] = ['tgi', 'dummy'];

const isBase = ({ model }: Services, name: string): boolean => name === model.name || unnamed.includes(name);

/** No adapter where `model` is left out or names the base model, else the adapter of this reference. */
export const adaptersOfModel = (services: Services, reference: string | undefined): NamedAdapter[] =>
  reference === undefined || isBase(services, reference) ? [] : [{ reference, scale: 1, param: 'model' }];

/** Throws `invalid_parameter` for the base model's name: an adapter of that name could never be asked for. */
export function assertFreeName(services: Services, name: string, param: string): void {
  if (!isBase(services, name)) return;
  const message = `The lora adapter name '${name}' conflicts with a served base model.`;
  throw new LorikeetError('invalid_parameter', { message, param });
}

type AdapterFields = {
  adapter_id?: string;
  adapter_scale?: number;
  adapters?: readonly { id: string; scale?: number }[];
};

export function adaptersOfBody({ adapter_id, adapter_scale, adapters = [] }: AdapterFields): NamedAdapter[] {
  const refuse = (message: string, param: string) => new LorikeetError('invalid_parameter', { message, param });
  if (adapter_id !== undefined && adapters.length > 0) {
    throw refuse('adapter_id and adapters exclude each other.', 'adapters');
  }
  if (adapter_scale !== undefined && adapter_id === undefined) {
    throw refuse('adapter_scale needs adapter_id.', 'adapter_scale');
  }
  if (adapter_id !== undefined) return [{ reference: adapter_id, scale: adapter_scale ?? 1, param: 'adapter_id' }];
  return adapters.map(({ id, scale = 1 }, i) => ({ reference: id, scale, param: `adapters[${i}].id` }));
}

export function baseModelCard({ model, engine }: Services): ModelCard {
  return {
    id: model.name,
    object: 'model',
    created: epochSeconds(model.createdAt),
    owned_by: 'lorikeet',
    root: model.digest,
    parent: null,
    max_model_len: engine.info?.maxContext ?? null,
    permission: [],
  };
}

/**
 * An adapter in the list of models.
 * @param id what a caller writes as `model`
 */
export function adapterCard(services: Services, id: string, adapter: AdapterVersion): ModelCard {
  const created = epochSeconds(adapter.createdAt);
  return { ...baseModelCard(services), id, created, root: adapter.digest, parent: services.model.name };
}
