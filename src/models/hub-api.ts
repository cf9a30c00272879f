// Access to the hub, and two queries: the commit that a branch is at, and the files of a commit.

import type { FetchReport } from './progress.ts';
import { describe, unavailable } from './unavailable.ts';

export type HubOptions = {
  readonly endpoint: string;
  readonly token: string | null;
  readonly cacheDir: string;
  readonly offline: boolean;
};

/** A repository, and optionally a file of it. `sha256` is the file's digest, where it is known beforehand. */
export type HubModel = {
  readonly repo: string;
  readonly revision: string;
  readonly file: string | null;
  readonly sha256?: string;
};

export type HubAccess = { readonly options: HubOptions; readonly fetch: typeof fetch; readonly report: FetchReport };

/** A file at the top level of a repository. */
export type HubFile = {
  readonly path: string;
  readonly bytes: number;
  readonly digest: { readonly kind: 'sha256' | 'git'; readonly hex: string };
};

/** Longest wait for an answer. Behind a firewall that drops packets the next source should be tried soon. */
const answerMsMax = 5000;

export async function hubCommit(model: HubModel, access: HubAccess): Promise<string> {
  // Imported on demand: a start from the cache does not need the library.
  const { modelInfo } = await import('@huggingface/hub');
  const { repo, revision } = model;
  return ask(repo, access, async (common) => {
    const { sha } = await modelInfo({ ...common, name: repo, revision, additionalFields: ['sha'] });
    return sha !== undefined && /^[0-9a-f]{40}$/.test(sha)
      ? sha
      : unavailable(`the hub names no commit for ${revision} of ${repo}`);
  });
}

export async function hubFiles(repo: string, commit: string, access: HubAccess): Promise<HubFile[]> {
  const { listFiles } = await import('@huggingface/hub');
  return ask(repo, access, async (common) => {
    const files: HubFile[] = [];
    for await (const { type, path, size, oid, lfs } of listFiles({ ...common, repo, revision: commit })) {
      // The digest becomes a file's name in the cache, so its form is checked.
      const digest = {
        kind: lfs === undefined ? 'git' : 'sha256',
        hex: (lfs?.oid ?? oid ?? '').replace('sha256:', ''),
      } as const;
      if (type === 'file' && /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(digest.hex))
        files.push({ path, bytes: size, digest });
    }
    return files;
  });
}

type Common = { readonly hubUrl: string; readonly fetch: typeof fetch };

async function ask<T>(repo: string, access: HubAccess, question: (common: Common) => Promise<T>): Promise<T> {
  const { endpoint } = access.options;
  try {
    return await question({ hubUrl: endpoint, fetch: boundedFetch(access) });
  } catch (error) {
    const { statusCode } = error as { statusCode?: number };
    if (statusCode === undefined) return unavailable(`the hub ${endpoint} gives no answer (${describe(error)})`, error);
    const hint = statusCode === 401 || statusCode === 403 ? '; a gated or private model needs HF_TOKEN' : '';
    return unavailable(`the hub answers ${statusCode} for ${repo}${hint}`, error);
  }
}

/** Limits the time of requests, and adds the token: the library takes only tokens of the public hub. */
function boundedFetch({ options, fetch }: HubAccess): typeof globalThis.fetch {
  return (input, init) => {
    const headers = new Headers(init?.headers);
    const isHub = new URL(String(input)).origin === new URL(options.endpoint).origin;
    if (isHub && options.token !== null) headers.set('authorization', `Bearer ${options.token}`);
    return fetch(input, { ...init, headers, signal: AbortSignal.timeout(answerMsMax) });
  };
}
