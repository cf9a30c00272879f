// What is asked side by side: the base or an adapter, and how strongly it applies. As text in the address:
// `` is the base, `pirate@2`, `pirate:prod*0.5` with a scale, `pirate*unmerged` beside the base where a merge is there.

export type Target = {
  /** The base model: the empty text. */
  readonly reference: string;
  readonly scale: number;
  /** false: on the base's weights, its adapter beside them, also where it is merged. */
  readonly mayBeMerged: boolean;
};

export const base: Target = { reference: '', scale: 1, mayBeMerged: true };

/** More would be too narrow to read. */
export const targetsMax = 6;

export function parseTarget(text: string): Target {
  const [reference = '', ...options] = text.split('*');
  const scale = options.map(Number).find((value) => value >= 0 && value <= 2);
  return { reference, scale: scale ?? 1, mayBeMerged: !options.includes('unmerged') };
}

export function targetText({ reference, scale, mayBeMerged }: Target): string {
  if (reference === '') return '';
  return `${reference}${scale === 1 ? '' : `*${scale}`}${mayBeMerged ? '' : '*unmerged'}`;
}

export function targetTitle({ reference, scale, mayBeMerged }: Target, model: string): string {
  if (reference === '') return model;
  return `${reference}${scale === 1 ? '' : ` × ${scale}`}${mayBeMerged ? '' : ', unmerged'}`;
}
