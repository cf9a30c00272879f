// What two sequences have in common when what is known of one may serve the other.

import type { Sequence } from './sequence.ts';
import { digestOfVirtual } from './virtual-tokens.ts';

/**
 * Which weights it computes with and what it is of its tenant's: what is known of it is another sequence's of the same
 * alone. Names never enter.
 */
export const weightsAndOwner = ({ key, virtual, line, request }: Sequence, owner = `${line.flow}`) => [
  ...[key, digestOfVirtual(virtual)],
  ...[owner, request.cacheSalt ?? null],
];
