// What a key may be used for. A route needs exactly one scope; a key has any set of them. No scope implies another,
// except `operator`, which stands above tenants and opens every route.

export const scopes = ['generate', 'adapters', 'train', 'admin', 'metrics', 'operator'] as const;
export type Scope = (typeof scopes)[number];

export const isScope = (text: string): text is Scope => (scopes as readonly string[]).includes(text);

/** Whether a key with these scopes opens a route that needs `needed`. */
export const opens = (has: readonly Scope[], needed: Scope): boolean =>
  has.includes(needed) || has.includes('operator');

/** The tenant of a server without keys, and of the admin key. */
export const defaultTenant = 'default';

/** Letters, digits and a few signs, so that a name can stand in an address, a header and a log line. */
export const isTenantName = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(text);
