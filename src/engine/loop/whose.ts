// When one sequence may use what is known of another: the prefix cache and past texts.

import type { Sequence } from './sequence.ts';
import { digestOfVirtual } from './virtual-tokens.ts';

/**
 * The weights that the sequence computes with, and whose it is. What is known of it serves only sequences for which
 * this is equal. Names of adapters never enter.
 */
export const weightsAndOwner = ({ key, virtual, line, request }: Sequence, owner = `${line.flow}`) => [
  ...[key, digestOfVirtual(virtual)],
  ...[owner, request.cacheSalt ?? null],
];
