// References to adapters: `name`, `name@2` for one version, `name:alias` for an alias's target. Names never become
// paths, and contain neither `@`, `:` nor `,`, so that every reference can be read in only one way.

/** A parsed reference. At most one of version and alias is not null. */
export type Reference = { readonly name: string; readonly version: number | null; readonly alias: string | null };

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$/;
const aliasPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const referencePattern = /^([^@:]+)(?:@([1-9][0-9]{0,8})|:([^@:]+))?$/;

export const isAdapterName = (text: string): boolean =>
  namePattern.test(text) && !text.includes('..') && !text.includes('//') && !text.endsWith('/');

export const isAliasName = (text: string): boolean => aliasPattern.test(text) && !text.includes('..');

/** null for a text that is no reference. */
export function parseReference(text: string): Reference | null {
  const [, name, version, alias] = referencePattern.exec(text) ?? [];
  if (name === undefined || !isAdapterName(name)) return null;
  if (alias !== undefined && !isAliasName(alias)) return null;
  return { name, version: version === undefined ? null : Number(version), alias: alias ?? null };
}
