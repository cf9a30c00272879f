// AdamW (arXiv 1711.05101) as torch.optim.AdamW computes it, on flat arrays in place.

/** Running means of the gradients and of their squares; zero before the first step. */
export type Moments = { readonly first: Float32Array<ArrayBuffer>; readonly second: Float32Array<ArrayBuffer> };

export const createMoments = (count: number): Moments => ({
  first: new Float32Array(count),
  second: new Float32Array(count),
});

/** torch's defaults, which nearly every recipe for LoRA keeps. */
const [beta1, beta2, epsilon] = [0.9, 0.999, 1e-8];

/** @param step from 1, for the bias correction */
export function adamW(
  values: Float32Array,
  gradients: Float32Array,
  { first, second }: Moments,
  { step, learningRate, weightDecay }: { step: number; learningRate: number; weightDecay: number },
): void {
  const kept = 1 - learningRate * weightDecay;
  const rate = learningRate / (1 - beta1 ** step);
  const correction = Math.sqrt(1 - beta2 ** step);
  for (let i = 0; i < values.length; i++) {
    const gradient = gradients[i]!;
    const mean = beta1 * first[i]! + (1 - beta1) * gradient;
    const square = beta2 * second[i]! + (1 - beta2) * gradient * gradient;
    first[i] = mean;
    second[i] = square;
    values[i] = values[i]! * kept - (rate * mean) / (Math.sqrt(square) / correction + epsilon);
  }
}
