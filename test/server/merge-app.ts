// The app with merges, and an engine that reports what a test tells it to.

import type { TestContext } from 'node:test';
import { mergeKey } from '../../src/core/adapter.ts';
import type { MergeEvent } from '../../src/protocol/messages.ts';
import { type TestAppOptions, testApp } from '../helpers/app.ts';

const quality = { positions: 500, meanKl: 0.01, maxKl: 0.5, top1Agreement: 0.98 };
export const addressOf = (id: string) => `/v1/admin/adapters/${encodeURIComponent(id)}/merge`;
export const keyOf = (...adapters: readonly { digest: string; scale?: number }[]) =>
  mergeKey(adapters.map(({ digest, scale = 1 }) => ({ files: { digest }, scale })));

type MergeJson = Record<string, unknown> & {
  id: string;
  state: string;
  adapters: { id: string }[];
  error: { code: string } | null;
  quality: { mean_kl: number } | null;
};

export async function mergeApp(t: TestContext, options: TestAppOptions = {}) {
  const testing = await testApp(t, options);
  const { app, engine, post } = testing;
  /** The engine's key for a merge of these weights, which contains the bits. */
  const called = (key: string) =>
    engine.mergesAsked.findLast((one) => one === key || one.startsWith(`${key} in `)) ?? key;
  const say = (key: string, event: Partial<MergeEvent>) =>
    engine.tellMerge({ key: called(key), ...event } as MergeEvent);
  return {
    ...testing,
    called,
    say,
    merged: (key: string) => say(key, { state: 'merged', bits: 4, bytes: 400, ms: 1500, quality }),
    merge: (id: string, body: object = {}, headers = {}) => post(addressOf(id), body, headers),
    unmerge: (id: string, query = '') => app.inject({ method: 'DELETE', url: `${addressOf(id)}${query}` }),
    list: async (headers = {}) => (await app.inject({ url: '/v1/admin/merges', headers })).json() as MergeList,
  };
}
type MergeList = { data: MergeJson[]; budget_bytes: number; used_bytes: number };

export const codeOf = (answer: { json(): { error: { code: string; param: string | null } } }) =>
  answer.json().error.code;
