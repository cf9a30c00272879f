// Checks of the events of offline processes, which work on weights.

import Type from 'typebox';
import { type TargetModule, targetModules } from '../../core/adapter.ts';
import type { OfflineEvent } from '../offline-messages.ts';
import { count, failure, messageReader, nullable, number } from './check-message.ts';

const counts = Type.Array(count);
const grid = Type.Object({ own: counts, other: counts, phi: Type.Array(Type.Array(number)) });
const isModule = (value: unknown) => targetModules.some((module) => module === value);

const linear = Type.Object({
  layer: nullable(count),
  module: Type.Refine(Type.Unsafe<TargetModule>({}), isModule),
  r: count,
  scaling: number,
  singularValues: Type.Array(number),
  frobeniusNorm: number,
  effectiveRank: number,
  stableRank: number,
  amplification: nullable(number),
  similarity: nullable(Type.Object({ input: grid, output: grid })),
});

export const readOfflineEvent = messageReader<OfflineEvent>()({
  bytes: Type.Object({ bytes: count }),
  analysis: Type.Object({ analysis: Type.Object({ usesDora: Type.Boolean(), linears: Type.Array(linear) }) }),
  failed: Type.Object({ ...failure, param: nullable(Type.String()) }),
});
