// How long the next step waits while something is computed beside the steps. That computes only where a core idles, and
// with rows on every core none ever does: without this it would never end.

/** Of the last step's time: everybody's tokens come that much later, and the rest has as much of the processor. */
const share = 0.25;

/** A long prompt's step, which nobody's tokens wait for twice, is no reason for a longer pause. */
const pauseMsMax = 10;

/** Milliseconds. */
export const roomAside = (stepMs: number): number => Math.min(share * stepMs, pauseMsMax);
