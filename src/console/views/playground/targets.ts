// Targets: the base model or an adapter, and how it is applied. In the address the empty text is the base, `pirate@2`
// and `pirate:prod*0.5` an adapter (with a scale), and `pirate*unmerged` an adapter whose merge is not used.

export type Target = {
  /** Name of the adapter; empty for the base model. */
  readonly reference: string;
  readonly scale: number;
  /** false: the adapter is applied to the base's weights even where it is merged. */
  readonly mayBeMerged: boolean;
};

export const base: Target = { reference: '', scale: 1, mayBeMerged: true };

/** Most targets: more columns would be too narrow to read. */
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
