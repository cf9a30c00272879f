// The trainer's share of the time as serving comes and goes: told at every change, and only then.

import type { Clock, Timers } from '../core/clock.ts';
import type { EngineClient } from '../protocol/engine-client.ts';
import { fullShare, nextShare, type ShareSettings } from './policies/training-share.ts';

export type TrainerShare = {
  readonly current: number;
  /** One at a time: the trainer that runs. */
  onChange: ((share: number) => void) | null;
};

type Options = {
  readonly engine: Pick<EngineClient, 'onStep'>;
  readonly settings: ShareSettings;
  readonly clock: Clock;
  readonly timers: Timers;
};

export function trainerShare({ engine, settings, clock, timers }: Options): TrainerShare {
  let state = fullShare;
  let cancel: (() => void) | null = null;

  const look = (load: number) => {
    const before = state.share;
    state = nextShare(state, load, clock.monotonic(), settings);
    if (state.share !== before) share.onChange?.(state.share);
    if (load > 0) {
      cancel?.();
      cancel = null;
    } else if (state.share < 1) {
      // An idle engine takes no steps that could tell.
      cancel ??= timers.after(settings.quietMs, () => {
        cancel = null;
        look(0);
      });
    }
  };
  engine.onStep(({ running, waiting }) => look(running + waiting));

  const share: TrainerShare = {
    get current() {
      return state.share;
    },
    onChange: null,
  };
  return share;
}
