// The tables as they are after the last migration. Times are milliseconds since the epoch.

export type Tables = { keys: KeyRow };

export type KeyRow = {
  /** The public half of a key, which finds it. */
  prefix: string;
  /** SHA-256 of the secret half, hex. The secret itself is nowhere. */
  secret_hash: string;
  tenant: string;
  name: string;
  /** Space separated. */
  scopes: string;
  created_at: number;
  last_used_at: number | null;
  revoked_at: number | null;
};
