// What the routes share: the given dependencies, and a few things that are derived from them once.

import type { Socket } from 'node:net';
import { LorikeetError } from '../core/errors.ts';
import { type SharedPlaces, sharedPlaces } from '../core/shared-places.ts';
import type { LineRequest } from '../jobs/batches/batches.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { AppDeps } from './deps.ts';
import { type ChatTemplates, chatTemplates } from './generation/chat-templates.ts';

export type Services = AppDeps & {
  readonly chatTemplates: ChatTemplates;
  /** Tokens that a sequence may hold. Throws `engine_unavailable` until the engine has been ready once. */
  contextTokens(): number;
  /**
   * Bytes of the vocabulary's longest token. A text longer than this times the context cannot fit, before it is
   * encoded.
   */
  tokenBytesMax(): number;
  /** Takes a place for offline work on weights, of which no tenant may have all. Throws `offline_overloaded`. */
  readonly offlinePlace: SharedPlaces;
  /** Connections that carry an upload; the time limit of whole requests does not apply to them. */
  readonly uploads: WeakSet<Socket>;
  /** Callers of batch lines under way, by a secret word that only the server's own request of that line sends. */
  readonly lines: Map<string, Pick<LineRequest, 'tenant' | 'keyPrefix' | 'signal'>>;
  /** Set when the server shuts down, so that readiness ends before the answers do. */
  draining: boolean;
};

export function createServices(deps: AppDeps): Services {
  let tokenBytesMax = 0;
  return {
    ...deps,
    chatTemplates: chatTemplates(deps),
    offlinePlace: sharedPlaces(deps.limits.offlineProcesses, () => new LorikeetError('offline_overloaded')),
    uploads: new WeakSet(),
    lines: new Map(),
    draining: false,
    contextTokens() {
      if (deps.engine.info === null) throw new LorikeetError('engine_unavailable');
      return deps.engine.info.maxContext;
    },
    tokenBytesMax() {
      tokenBytesMax ||= longestToken(deps.tokenizer);
      return tokenBytesMax;
    },
  };
}

function longestToken(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let token = 0; token < tokenizer.vocabulary; token++) {
    longest = Math.max(longest, tokenizer.tokenBytes(token).length);
  }
  return longest;
}
