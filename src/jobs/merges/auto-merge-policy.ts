// Decides which adapters to merge and unmerge automatically: plain data in, decisions out. A merge costs memory and a
// second group of rows that alternates with the others; it pays where most tokens come from one adapter.

export type AutoMergeRules = {
  /** Share of the generated tokens, 0..1, from which an adapter is merged, and below which it is unmerged again. */
  readonly shareUp: number;
  readonly shareDown: number;
  readonly budgetBytes: number;
  /** Automatic merges at once. */
  readonly mergesMax: number;
  /** Milliseconds for which a merge stays, whatever its share. */
  readonly lifeMs: number;
  /** Milliseconds for which weights are not merged after a failure, or after an admin unmerged them. */
  readonly retryMs: number;
  /** With fewer tokens in the window nothing is decided: shares of so few mean nothing. */
  readonly tokensMin: number;
};

/** Traffic on weights that are not merged. `bytes`: expected size of the merge. */
export type Candidate = {
  readonly key: string;
  readonly share: number;
  readonly bytes: number;
  readonly restsSince: number | null;
};

export type MergeNow = {
  readonly key: string;
  readonly share: number;
  readonly bytes: number;
  /** Whether the policy wanted it. An admin's merge is never touched. */
  readonly automatic: boolean;
  readonly state: 'merging' | 'merged' | 'draining';
  /** When it became merged, by the monotonic clock; not used in state `merging`. */
  readonly since: number;
};

export type AutoMergeSituation = {
  readonly now: number;
  readonly tokens: number;
  readonly candidates: readonly Candidate[];
  readonly merges: readonly MergeNow[];
};

export type AutoMergeReason =
  /** A high share: merge. A low share: unmerge. */
  | 'share'
  /** Unmerged in favour of an adapter with a far larger share. */
  | 'displaced'
  /** Reasons to wait follow. */
  | 'rests'
  | 'another_is_merging'
  | 'making_room'
  | 'budget'
  | 'too_many';

export type AutoMergeDecision = {
  readonly key: string;
  readonly decision: 'merge' | 'unmerge' | 'wait';
  readonly reason: AutoMergeReason;
  readonly share: number;
  readonly bytes: number;
  /** Bytes left of the budget before this decision. */
  readonly freeBytes: number;
};

/**
 * Decides on at most one new merge: making one takes a core, and its true size is known only then. A candidate that
 * waits for room being made keeps that room from lighter ones; one for which no room can be made holds up nobody.
 *
 * Constant shares cause no flapping: a merge that had `shareUp` ends only below `shareDown`, or for a candidate whose
 * share exceeds that of all merges displaced for it by the gap between the two; these never come back for it.
 */
export function decideMerges(rules: AutoMergeRules, situation: AutoMergeSituation): AutoMergeDecision[] {
  const { now, tokens, candidates, merges } = situation;
  if (tokens < rules.tokensMin) return [];
  const freeBytes = rules.budgetBytes - sum(merges.map(({ bytes }) => bytes));
  const decide = ({ key, share, bytes }: Candidate | MergeNow, [decision, reason]: Verdict): AutoMergeDecision => ({
    ...{ key, decision, reason, share, bytes, freeBytes },
  });

  const low = merges.filter((merge) => mayGo(rules, merge, now) && merge.share < rules.shareDown);
  const decisions = low.map((merge) => decide(merge, ['unmerge', 'share']));
  let room: Room = {
    kept: merges.filter((merge) => !low.includes(merge) && merge.state !== 'draining'),
    isBusy: merges.some(({ state }) => state === 'merging'),
    freeBytes,
  };
  for (const candidate of heaviestFirst(candidates.filter(({ share }) => share >= rules.shareUp))) {
    const { verdict, displaced } = judge(rules, candidate, room, now);
    decisions.push(...displaced.map((merge) => decide(merge, ['unmerge', 'displaced'])), decide(candidate, verdict));
    if (verdict[1] === 'making_room') break;
    if (verdict[0] === 'merge') room = { ...room, isBusy: true };
  }
  return decisions;
}

type Verdict = readonly [AutoMergeDecision['decision'], AutoMergeReason];

type Room = {
  /** Merges that stay, by the decisions so far. */
  readonly kept: readonly MergeNow[];
  /** Whether a merge is being made. */
  readonly isBusy: boolean;
  /** Bytes free now. A merge that drains still takes its bytes. */
  readonly freeBytes: number;
};

type Judgement = { readonly verdict: Verdict; readonly displaced: readonly MergeNow[] };

function judge(rules: AutoMergeRules, candidate: Candidate, { kept, isBusy, freeBytes }: Room, now: number): Judgement {
  const wait = (reason: AutoMergeReason, displaced: readonly MergeNow[] = []): Judgement => {
    return { verdict: ['wait', reason], displaced };
  };
  const { restsSince, bytes } = candidate;
  if (restsSince !== null && now - restsSince < rules.retryMs) return wait('rests');
  if (isBusy) return wait('another_is_merging');
  const hasRoom = (merges: readonly MergeNow[]) =>
    merges.filter(({ automatic }) => automatic).length < rules.mergesMax &&
    sum(merges.map((merge) => merge.bytes)) + bytes <= rules.budgetBytes;
  if (hasRoom(kept)) {
    return bytes <= freeBytes ? { verdict: ['merge', 'share'], displaced: [] } : wait('making_room');
  }

  const displaced: MergeNow[] = [];
  const lightest = heaviestFirst(kept.filter((merge) => mayGo(rules, merge, now))).reverse();
  const isWorth = (merges: readonly MergeNow[]) =>
    sum(merges.map(({ share }) => share)) + (rules.shareUp - rules.shareDown) <= candidate.share;
  for (const merge of lightest) {
    displaced.push(merge);
    if (!isWorth(displaced)) break;
    if (hasRoom(kept.filter((one) => !displaced.includes(one)))) return wait('making_room', displaced);
  }
  return wait(kept.filter(({ automatic }) => automatic).length < rules.mergesMax ? 'budget' : 'too_many');
}

const mayGo = ({ lifeMs }: AutoMergeRules, { automatic, state, since }: MergeNow, now: number) =>
  automatic && state === 'merged' && now - since >= lifeMs;

/** Ordered by share, then key, whatever the given order. */
const heaviestFirst = <T extends { readonly key: string; readonly share: number }>(all: readonly T[]): T[] =>
  [...all].sort((a, b) => b.share - a.share || (a.key < b.key ? -1 : 1));

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
