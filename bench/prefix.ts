// Measures what the prefix cache saves, and what prefilling prompts together saves. Ratios are within each round.
//
//     npm run bench:prefix -- [--rounds 5] [--model model.gguf]

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { prng } from '../src/core/prng.ts';
import { findModel, type LoneEngine, loneEngine } from './engine/lone-engine.ts';
import { describeMachine } from './machine.ts';
import { showSpread, spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: { model: { type: 'string' }, rounds: { type: 'string', default: '5' } },
});
const rounds = Number(flags.rounds);
const turns = 10;
const [systemTokens, askedTokens, answerTokens] = [100, 24, 40];

const model = await findModel(flags.model);
const cached = await loneEngine(model, { prefixBytes: 256 * 2 ** 20 });
const uncached = await loneEngine(model, {});
const random = prng(1);
const text = (length: number) => Array.from({ length }, () => 1000 + Math.floor(random() * 30_000));
const one = { temperature: 0, maxTokens: 1 };
const firstMsOf = async (engine: LoneEngine, prompt: readonly number[]) =>
  (await engine.ask([{ prompt, params: one }]))[0]!.firstMs;

/**
 * Time to first token of a prompt with 512 cached tokens and 32 new ones, over that of a prompt without cached tokens.
 */
async function sharedBeginning() {
  const shared = text(512);
  const cold = await firstMsOf(cached, [...shared, ...text(32)]);
  const warm = await firstMsOf(cached, [...shared, ...text(32)]);
  return { coldMs: cold, warmMs: warm, ratio: warm / cold };
}

/** Times the prefills of a chat's turns, each of which repeats the whole conversation so far. */
async function chat() {
  const talk = [cached, uncached].map((engine) => ({ engine, said: [] as number[], ms: 0, tokens: 0 }));
  const system = text(systemTokens);
  for (const each of talk) each.said.push(...system);
  for (let turn = 0; turn < turns; turn++) {
    const asked = text(askedTokens);
    for (const each of talk) {
      each.said.push(...asked);
      const params = { temperature: 0, maxTokens: answerTokens };
      const [answer] = await each.engine.ask([{ prompt: each.said, params }]);
      each.ms += answer!.end.timings.prefillMs;
      each.tokens += answer!.end.promptTokens - answer!.end.cachedTokens;
      each.said.push(...answer!.tokens);
    }
  }
  const [with_, without] = talk as [(typeof talk)[0], (typeof talk)[0]];
  if (String(with_.said) !== String(without.said)) throw new Error('the cache changed what was said');
  return {
    ...{ uncachedMs: without.ms, cachedMs: with_.ms, ratio: with_.ms / without.ms },
    ...{ uncachedTokens: without.tokens, cachedTokens: with_.tokens },
  };
}

/** Time until 16 prompts of 32 tokens have their first tokens: together, and one after another. */
async function together() {
  const prompts = Array.from({ length: 16 }, () => text(32));
  let inTurnMs = 0;
  for (const prompt of prompts) inTurnMs += await firstMsOf(uncached, prompt);
  const answers = await uncached.ask(prompts.map((prompt) => ({ prompt, params: one })));
  const togetherMs = Math.max(...answers.map(({ firstMs }) => firstMs));
  return { inTurnMs, togetherMs, ratio: togetherMs / inTurnMs };
}

// The first round warms up kernels and pages.
for (const work of [sharedBeginning, together]) await work();
const works = { sharedBeginning, chat, together };
const results: Record<string, unknown> = {};
for (const [name, work] of Object.entries(works)) {
  const measured: { readonly ratio: number }[] = [];
  for (let round = 0; round < rounds; round++) measured.push(await work());
  const ratio = spread(measured.map((each) => each.ratio));
  results[name] = { ratio, rounds: measured };
  console.log(`${name.padEnd(16)} ${showSpread(ratio, 3)}`);
}
const machine = describeMachine();
const date = new Date().toISOString();
const file = new URL(`results/${date.slice(0, 10)}-prefix.json`, import.meta.url);
writeFileSync(file, `${JSON.stringify({ date, machine, threads: cached.threads, results }, null, 2)}\n`);
console.log(`${machine.cpu}, ${cached.threads} threads, commit ${machine.commit}`);
process.exit(0);
