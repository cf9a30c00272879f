// Formats numbers for people.

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const count = (value: number): string => grouped.format(value);
export const short = (value: number): string => compact.format(value);
export const percent = (share: number, digits = 0): string => `${(share * 100).toFixed(digits)} %`;

const byteUnits = ['B', 'kB', 'MB', 'GB', 'TB'];

export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), byteUnits.length - 1);
  const scaled = value / 1000 ** power;
  return `${scaled.toFixed(power === 0 || scaled >= 100 ? 0 : 1)} ${byteUnits[power]}`;
}

/** Three significant digits; very small and very large numbers with an exponent. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 0.001 || size >= 1e6) return value.toExponential(1);
  return size >= 100 ? grouped.format(value) : String(Number(value.toPrecision(3)));
}

/** Formats milliseconds, as seconds from 1000 on. */
export const millis = (ms: number): string => (ms < 1000 ? `${figure(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

/** The first 8 digits of a digest. */
export const shortDigest = (digest: string): string => digest.replace(/^sha256:/, '').slice(0, 8);

export const plural = (value: number, one: string, many = `${one}s`): string =>
  `${count(value)} ${value === 1 ? one : many}`;
