// Which metrics of a long job are kept, so that its curve keeps its shape: those of every second step, then of every
// fourth and so on. The last point stays, and validated points stay while they are few. Pure.

export type MetricsPoint = { readonly step: number; readonly isValidated: boolean };

/** @returns at most `most` points, in the given order, which is that of the steps. */
export function thinMetrics<P extends MetricsPoint>(points: readonly P[], most: number): P[] {
  const validated = points.filter(({ isValidated }) => isValidated).length;
  const keepsValidated = validated <= most / 2;
  let kept: readonly P[] = points;
  for (let stride = 2; kept.length > most; stride *= 2) {
    kept = points.filter(
      ({ step, isValidated }, i) => step % stride === 0 || i === points.length - 1 || (keepsValidated && isValidated),
    );
  }
  return [...kept];
}
