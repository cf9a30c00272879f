// Answers of the operator's routes, which not every server has. Times are seconds since the epoch.

export type Key = {
  readonly id: string;
  readonly tenant: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly adapters: readonly string[] | null;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  readonly last_used_at: number | null;
  readonly replaced_by: string | null;
};

/** `key` is shown in this answer and never again. */
export type NewKey = Key & { readonly key: string };

export type Tenant = {
  readonly id: string;
  readonly disabled_at: number | null;
  readonly quota: Readonly<Record<string, number>> | null;
};

export type AuditEntry = {
  readonly id: string;
  readonly at: number;
  readonly tenant: string;
  readonly actor: string;
  readonly ip: string | null;
  readonly action: string;
  readonly target: string;
  readonly before: unknown;
  readonly after: unknown;
};

/** Of a minute and an adapter. */
export type Usage = {
  readonly start_time: number;
  readonly adapter_digest: string | null;
  readonly requests: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  readonly trained_tokens: number;
};
