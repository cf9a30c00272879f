// What a key may be used for. A route needs exactly one scope; a key has any set of them; none implies another.

export const scopes = ['generate', 'adapters', 'train', 'admin', 'metrics'] as const;
export type Scope = (typeof scopes)[number];

export const isScope = (text: string): text is Scope => (scopes as readonly string[]).includes(text);

/** The tenant of a server without keys, and of the admin key. */
export const defaultTenant = 'default';
