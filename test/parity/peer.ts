// llama.cpp's figures on the same references, to print beside ours; peer-parity.py wrote them.

import { readFileSync } from 'node:fs';
import type { GreedyParity } from './greedy.ts';
import type { Parity } from './kl.ts';

export type PeerParity = Parity &
  Omit<GreedyParity, 'largestMargin'> & {
    readonly peer: string;
    /** Without lumping what is not stored: the difference to `meanKl` is the error of the measure. */
    readonly meanWholeKl: number;
  };

export function readPeerParity(): PeerParity {
  return JSON.parse(readFileSync(new URL('references/llama-cpp.json', import.meta.url), 'utf8')) as PeerParity;
}
