// What the routes share: the given dependencies and the few things the server derives from them once.

import type { Socket } from 'node:net';
import { LorikeetError } from '../core/errors.ts';
import { type SharedPlaces, sharedPlaces } from '../core/shared-places.ts';
import type { LineRequest } from '../jobs/batches/batches.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { AppDeps } from './deps.ts';
import { type ChatTemplates, chatTemplates } from './generation/chat-templates.ts';

export type Services = AppDeps & {
  readonly chatTemplates: ChatTemplates;
  /** Tokens that a sequence may hold. Throws `engine_unavailable` until the engine was ready once. */
  contextTokens(): number;
  /** Bytes of the longest token: more text than this times the context cannot fit, which is known before tokenising. */
  tokenBytesMax(): number;
  /** Takes a place for work on weights beside serving, of those that tenants share. Throws `offline_overloaded`. */
  readonly offlinePlace: SharedPlaces;
  /** Connections that bring an upload, whose time is not limited as a whole request's is. */
  readonly uploads: WeakSet<Socket>;
  /** Requests of batches that are under way, by a word that is said once and that nobody outside can know. */
  readonly lines: Map<string, Pick<LineRequest, 'tenant' | 'keyPrefix' | 'signal'>>;
  /** Set when the server goes down, so that readiness ends before the answers do. */
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
