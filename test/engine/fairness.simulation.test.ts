import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import type { Share } from '../../src/core/share.ts';
import type { Chunk } from '../../src/engine/loop/scheduler.ts';
import { type FairTrafficOptions, fairTraffic, type Job, subflowOf } from './fair-traffic.ts';

const share = (flow: number, weight = 1, priority = 1): Share => ({ flow, weight, priority });
const usual: FairTrafficOptions = { rows: 16, lead: 4096, budget: 128 };

/** Seed of the one history to replay, as a failure named it; null runs all. */
const replayed: number | null = process.env.SEED ? Number(process.env.SEED) : null;

/** Runs one history for each seed; a failure names its seed. */
function eachSeed(count: number, run: (random: () => number, seed: number) => void): void {
  for (let seed = replayed ?? 1; seed <= (replayed ?? count); seed++) {
    try {
      run(prng(seed), seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

const draw = (random: () => number, least: number, most: number) => least + Math.floor(random() * (most - least + 1));

/** Longest prompt and answer of a history. */
type Sizes = { readonly prompt: number; readonly output: number };

/**
 * The paper's bound on the gap between two flows' service over their weights: twice the cost of a prompt, or of all
 * tokens that a batch may hold, whichever is more.
 */
const vtcBound = ({ prompt, output }: Sizes, rows: number, weightMin: number) =>
  (2 * Math.max(prompt, 2 * rows * (prompt + output))) / weightMin;

test('flows that always have something waiting are served by weight, within the bound of the paper', (context) => {
  let worst = 0;
  eachSeed(2000, (random) => {
    const rows = draw(random, 1, 8);
    const sizes = { prompt: draw(random, 1, 60), output: draw(random, 1, 30) };
    const weights = Array.from({ length: draw(random, 2, 5) }, () => [0.5, 1, 2, 4][draw(random, 0, 3)]!);
    const jobs: Job[] = [];
    for (const [flow, weight] of weights.entries()) {
      // Adversarial traffic: all at once, in bursts, long against short, many adapters against one.
      const [burst, prompt] = [draw(random, 1, 40), draw(random, 1, sizes.prompt)];
      const output = draw(random, 1, sizes.output);
      const adapters = draw(random, 0, 3);
      for (let i = 0; i < draw(random, 12, 30); i++) {
        jobs.push({
          ...{ at: Math.floor(i / burst) * draw(random, 0, 30), share: share(flow, weight), output },
          prompt: random() < 0.5 ? prompt : draw(random, 1, sizes.prompt),
          ...(adapters > 0 ? { adapter: `adapter ${draw(random, 1, adapters)}` } : {}),
        });
      }
    }
    const lead = 2 * (sizes.prompt + sizes.output);
    // For each pair of flows, the service of both when both began to wait together.
    const since = new Map<string, number>();
    fairTraffic(jobs, {
      ...{ rows, lead, budget: draw(random, 1, 64) },
      watch({ scheduler, service }) {
        const waiting = new Set(scheduler.waiting.waitingFlows().map(({ id }) => id));
        for (let one = 0; one < weights.length; one++) {
          for (let other = 0; other < one; other++) {
            const key = `${one} ${other}`;
            const gap = (service.get(one) ?? 0) / weights[one]! - (service.get(other) ?? 0) / weights[other]!;
            if (!waiting.has(one) || !waiting.has(other)) since.delete(key);
            else if (!since.has(key)) since.set(key, gap);
            else {
              const bound = vtcBound(sizes, rows, Math.min(weights[one]!, weights[other]!));
              const share = Math.abs(gap - since.get(key)!) / bound;
              worst = Math.max(worst, share);
              assert.ok(share <= 1, `flows ${key}: a gap of ${share.toFixed(2)} times the bound`);
            }
          }
        }
      },
    });
  });
  context.diagnostic(`the widest gap was ${worst.toFixed(2)} of the bound`);
});

test('adapters of one flow are served alike, and priorities are weights among them', () => {
  eachSeed(300, (random) => {
    const rows = draw(random, 1, 6);
    const sizes = { prompt: 20, output: 12 };
    const priorities = [1, draw(random, 1, 8), 1];
    const jobs: Job[] = priorities.flatMap((priority, i) =>
      Array.from({ length: 60 }, (_, k) => ({
        ...{ at: i === 0 ? 0 : k % 5, share: share(7, 1, priority), adapter: `adapter ${i}` },
        ...{ prompt: draw(random, 1, sizes.prompt), output: draw(random, 1, sizes.output) },
      })),
    );
    let last: readonly number[] = [];
    fairTraffic(jobs, {
      ...{ rows, lead: 100, budget: 32 },
      watch({ scheduler, subflowService }) {
        const subflows = new Set([...scheduler.waiting].map(subflowOf));
        if (subflows.size < 3) return;
        last = priorities.map((priority, i) => {
          const subflow = [...subflowService].find(([id]) => id.includes(`adapter ${i}`));
          return (subflow?.[1] ?? 0) / priority;
        });
      },
    });
    const gap = Math.max(...last) - Math.min(...last);
    assert.ok(gap <= vtcBound(sizes, rows, 1), `${last}`);
  });
});

test('nothing starves: whatever waits for its adapter or for pages starts in the end', () => {
  eachSeed(400, (random) => {
    const jobs = Array.from({ length: 60 }, (): Job => {
      const flow = random() < 0.7 ? 0 : draw(random, 1, 6);
      return {
        ...{ at: draw(random, 0, 100), share: share(flow, [0.25, 1, 4][draw(random, 0, 2)]!, draw(random, 1, 4)) },
        ...{ prompt: draw(random, 1, 40), output: draw(random, 1, 20), adapter: `adapter ${draw(random, 0, 9)}` },
      };
    });
    const { served } = fairTraffic(jobs, {
      ...{ rows: 4, lead: 200, budget: 16 },
      admit: () => (random() < 0.5 ? 'start' : random() < 0.5 ? 'wait' : 'blocked'),
    });
    assert.ok(served.every(({ endedAt }) => !Number.isNaN(endedAt)));
  });
});

test('one that comes to a flood starts at once, and the flood still has all that it leaves', () => {
  const flood = Array.from({ length: 200 }, (): Job => ({ at: 0, share: share(0), prompt: 16, output: 200 }));
  const victim = Array.from(
    { length: 40 },
    (_, i): Job => ({ at: 100 + 40 * i, share: share(1), prompt: 64, output: 32 }),
  );
  const waits = (jobs: readonly Job[]) => {
    const { served, work, step, preemptions } = fairTraffic(jobs, usual);
    const own = served.filter(({ job }) => job.share.flow === 1).map(({ job, firstAt }) => firstAt - job.at);
    return { worst: Math.max(...own), perStep: work / step, preemptions };
  };
  const flooded = waits([...flood, ...victim]);
  assert.equal(flooded.worst, waits(victim).worst, 'it waits no step longer than alone');
  assert.ok(flooded.preemptions > 0);
  // The flood fills every row that the other tenant leaves.
  assert.ok(flooded.perStep > 15, `${flooded.perStep} tokens a step`);
});

test('a flood of adapters that takes every page makes room for another tenant, who starts at once', () => {
  // 16 rows, and pages for 8 adapters.
  const flood = Array.from({ length: 200 }, (_, i): Job => {
    return { at: 0, share: share(0), prompt: 16, output: 200, adapter: `flood ${i}` };
  });
  const victim = Array.from({ length: 20 }, (_, i): Job => {
    return { at: 100 + 60 * i, share: share(1), prompt: 64, output: 32, adapter: `own ${i % 2}` };
  });
  const pages = { total: 64, each: 8 };
  const worst = (jobs: readonly Job[]) => {
    const { served } = fairTraffic(jobs, { ...usual, pages });
    const own = served.filter(({ job }) => job.share.flow === 1).map(({ job, firstAt }) => firstAt - job.at);
    return Math.max(...own);
  };
  assert.equal(worst([...flood, ...victim]), worst(victim));
});

test('who was away has no credit for it, and who works alone owes nobody', () => {
  const early = Array.from({ length: 40 }, (): Job => ({ at: 0, share: share(0), prompt: 10, output: 50 }));
  const both = [0, 1].flatMap((flow) =>
    Array.from({ length: 100 }, (): Job => ({ at: 150, share: share(flow), prompt: 10, output: 50 })),
  );
  let before: readonly [number, number] | null = null;
  let gap = 0;
  fairTraffic([...early, ...both], {
    ...usual,
    watch({ scheduler, service }) {
      if (scheduler.waiting.waitingFlows().length < 2) return;
      const now = [service.get(0) ?? 0, service.get(1) ?? 0] as const;
      before ??= now;
      gap = Math.max(gap, Math.abs(now[0] - before[0] - (now[1] - before[1])));
    },
  });
  assert.ok(before !== null && gap <= vtcBound({ prompt: 10, output: 50 }, usual.rows, 1), `${gap}`);
});

/** Milliseconds of a step's answers and then its prompts, as SmolLM2-135M takes on two AVX2 cores. */
function stepMs(chunks: readonly Chunk[]): number {
  const prompts = chunks.filter(({ sequence }) => sequence.computed < sequence.request.promptTokens.length);
  const read = prompts.reduce((sum, { count }) => sum + count, 0);
  const answers = chunks.length - prompts.length;
  return (answers > 0 ? 3.6 + 1.4 * answers : 0) + (read > 0 ? 8 + 1.02 * read : 0);
}

const quantile = (values: readonly number[], part: number) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * part)]!;

for (const [shortest, longest] of [
  // These answers end together, and the next prompts share a step while no visitor comes.
  [64, 64],
  [48, 80],
] as const) {
  const answers = shortest === longest ? `${shortest}` : `${shortest} to ${longest}`;
  test(`a visitor waits hardly longer beside a flood of ${answers} tokens an answer than alone`, (context) => {
    // As bench/fairness.ts measures on the real engine, without randomness: visits at three quarters of a share.
    const firsts = { alone: [] as number[], shared: [] as number[] };
    const ms = { shared: 0, firstCome: 0 };
    eachSeed(4, (random) => {
      const flood = Array.from({ length: 1000 }, (): Job => {
        return { at: 0, share: share(1), prompt: 16, output: draw(random, shortest, longest) };
      });
      let at = 500;
      const visits = Array.from({ length: 150 }, (): Job => {
        at += (-Math.log(1 - random()) * 1000) / 2.6;
        return { at, share: share(2), prompt: 64, output: 32 };
      });
      const run = (jobs: readonly Job[]) => {
        const { served, now } = fairTraffic(jobs, { rows: 16, lead: 1024, budget: 128, decodes: 32, stepMs });
        const waits = served.filter(({ job }) => job.prompt === 64).map(({ job, firstAt }) => firstAt - job.at);
        return { waits, now };
      };
      const shared = run([...flood, ...visits]);
      const firstCome = run([...flood, ...visits].map((job) => ({ ...job, share: share(0) })));
      firsts.alone.push(...run(visits).waits);
      firsts.shared.push(...shared.waits);
      ms.shared += shared.now;
      ms.firstCome += firstCome.now;
    });
    const ratio = quantile(firsts.shared, 0.9) / quantile(firsts.alone, 0.9);
    const throughput = ms.firstCome / ms.shared;
    context.diagnostic(`p90 beside the flood ${ratio.toFixed(2)} of that alone, throughput ${throughput.toFixed(3)}`);
    assert.ok(ratio <= 1.3, `p90 is ${ratio} of that alone`);
    assert.ok(throughput >= 0.98, `throughput is ${throughput} of first come, first served`);
  });
}
