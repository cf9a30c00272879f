// How much of the time the trainer may compute in. Alone it has all of it. Beside serving it has the share that the
// operator gives it: a half by default, which others' gaps hardly show, while all of it nearly doubles what the job
// keeps and does show. It steps back at once, and comes back when serving has been quiet for a while: requests come
// in bursts, and a change costs a message. Pure.

export type ShareSettings = {
  /** Above 0 to 1. */
  readonly busyShare: number;
  /** Quiet for so long, serving is over for now. */
  readonly quietMs: number;
};

export const defaultShare: ShareSettings = { busyShare: 0.5, quietMs: 1000 };

export type ShareState = {
  readonly share: number;
  /** Since when nothing runs or waits; null while something does. */
  readonly quietSince: number | null;
};

/** Nothing has been served yet. */
export const fullShare: ShareState = { share: 1, quietSince: null };

/** @param load sequences that run or wait */
export function nextShare(state: ShareState, load: number, now: number, settings: ShareSettings): ShareState {
  if (load > 0) return { share: settings.busyShare, quietSince: null };
  const quietSince = state.quietSince ?? now;
  return { share: now - quietSince >= settings.quietMs ? 1 : state.share, quietSince };
}
