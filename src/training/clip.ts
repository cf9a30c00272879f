// Clipping by the global norm, as torch.nn.utils.clip_grad_norm_ does.

/** Scales `gradients` in place to a norm of at most `normMax` (null: leaves them). Returns the norm before. */
export function clipGradients(gradients: Float32Array, normMax: number | null): number {
  let squares = 0;
  for (let i = 0; i < gradients.length; i++) squares += gradients[i]! * gradients[i]!;
  const norm = Math.sqrt(squares);
  if (normMax === null) return norm;
  const scale = normMax / (norm + 1e-6);
  if (scale < 1) for (let i = 0; i < gradients.length; i++) gradients[i]! *= scale;
  return norm;
}
