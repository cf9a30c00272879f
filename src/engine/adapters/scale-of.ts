// How much of a request's adapter its weights take. Several adapters are one, with their scales in it; a single one has
// its scale beside it, so that all scales of it share its memory.

import type { AppliedAdapter } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

/** Throws `adapter_unsupported` where the adapter has no scale. */
export function scaleOf(applied: readonly AppliedAdapter[], adapter: ResidentAdapter): number {
  const scale = applied.length === 1 ? applied[0]!.scale : 1;
  if (!adapter.hasGains || scale === 1) return scale;
  const message = 'An adapter with DoRA has no scale: the lengths that it sets hold for 1 only.';
  throw new LorikeetError('adapter_unsupported', { message, param: 'adapter_scale' });
}
