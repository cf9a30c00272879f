// The factor with which a request's row takes its adapter. Several adapters were combined into one with their scales in
// it. A single adapter's scale is kept apart, so that requests with different scales share its memory.

import type { AppliedAdapter } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

/** Throws `adapter_unsupported` for an adapter with DoRA at a scale other than 1. */
export function scaleOf(applied: readonly AppliedAdapter[], adapter: ResidentAdapter): number {
  const scale = applied.length === 1 ? applied[0]!.scale : 1;
  if (!adapter.hasGains || scale === 1) return scale;
  const message = 'An adapter with DoRA has no scale: the lengths that it sets hold for 1 only.';
  throw new LorikeetError('adapter_unsupported', { message, param: 'adapter_scale' });
}
