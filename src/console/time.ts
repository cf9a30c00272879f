// The page's clock, and times in words.

export const now = (): number => Date.now();
/** A monotonic clock in milliseconds. */
export const elapsed = (): number => performance.now();

const steps: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'always', style: 'short' });

/** @param seconds since the epoch */
export function ago(seconds: number): string {
  const passed = seconds - now() / 1000;
  for (const [unit, length] of steps) {
    if (Math.abs(passed) >= length) return relative.format(Math.round(passed / length), unit);
  }
  return passed > 5 ? 'in a moment' : 'just now';
}

/** Made once: making one takes longer than drawing a row. */
const exact = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'medium' });

/** @param seconds since the epoch */
export const moment = (seconds: number): string => exact.format(seconds * 1000);

/** A duration in words: `3 min 20 s`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}
