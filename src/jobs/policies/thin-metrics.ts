// Which steps of a long job are forgotten, so that its curve keeps its shape: every second, then every fourth ... of
// them, but neither the last one nor, while they are few, those that were validated. Pure.

export type MetricsPoint = { readonly step: number; readonly isValidated: boolean };

/** @returns the points that stay, at most `most`, in the order given, which is that of the steps. */
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
