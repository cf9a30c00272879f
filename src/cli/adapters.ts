// `lorikeet adapters list | show | push | pull | export | analyse | alias | merge | unmerge | rm`, on a running
// server.

import { parseReference } from '../registry/reference.ts';
import { suggest } from '../server/http/suggest.ts';
import type { Adapter } from '../server/schemas/adapters.ts';
import type { Alias } from '../server/schemas/aliases.ts';
import { analysisTable, readAnalysis } from './adapters/analyse.ts';
import { exportAdapter } from './adapters/export.ts';
import { pullAdapter } from './adapters/pull.ts';
import { pushAdapter } from './adapters/push.ts';
import { adapterTable, describeAdapter } from './adapters/show.ts';
import { allPages } from './all-pages.ts';
import { askServer, type Server, ServerRefusal } from './ask-server.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';
import { describeMerge, mergeAdapter, unmergeAdapter } from './merges.ts';
import { wrongVerb } from './verbs.ts';

const usage =
  'adapters list | show <ref> | push <folder|file.gguf|hf:org/repo> | pull <ref|hf:org/repo> | ' +
  'export <ref> | analyse <ref> | ' +
  'alias <name> <alias> <version> | merge <ref> | unmerge <ref> | rm <ref>';

export const adaptersCommand: Command = {
  name: 'adapters',
  usage,
  summary: 'adapters of a running server; <ref> is name, name@version or name:alias',
  options: {
    name: { placeholder: 'name', help: "push: the adapter's name (the folder's)" },
    to: { placeholder: 'path', help: "pull, export: where to (a folder or file of the adapter's name, here)" },
    format: { placeholder: 'gguf|safetensors', help: 'export: a file for llama.cpp, or a folder for transformers' },
    dtype: { placeholder: 'F16|BF16|F32', help: 'export: of the merged weights (F16)' },
    unpacked: { placeholder: null, help: 'export: all matrices of a GGUF in floats, not the merged ones alone' },
    against: { placeholder: 'ref', help: 'analyse: another adapter, to compare with' },
    bits: { placeholder: '4|8|16|32', help: "merge: bits of the merged weights (each linear's own)" },
    wait: { placeholder: null, help: 'merge: until it is merged, and say how far it is' },
    yes: { placeholder: null, help: 'rm: a name with all of its versions and aliases' },
    weights: { placeholder: 'list', help: 'alias: several versions by weight, as 1=0.9,2=0.1' },
  },
  settings: 'client',
  positionalsMax: 4,
  async run(invocation) {
    const [verb = '', ...words] = invocation.positionals;
    const found = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (found === undefined) throw wrongVerb(adaptersCommand, verb);
    const {
      run,
      words: [least, most],
    } = found;
    if (words.length < least || words.length > most) throw wrongVerb(adaptersCommand, verb);
    const server = askServer(invocation.loadConfig().config);
    return await run(server, invocation, words).catch(async (error) => {
      throw await withNearName(server, error, words[0]);
    });
  },
};

type Verb = {
  /** Least and most words that may follow the verb. */
  readonly words: readonly [number, number];
  run(server: Server, invocation: Invocation, words: readonly string[]): Promise<ExitCode>;
};

/** Adds to an error about an unknown adapter the server's nearest name; gives every other error back as it is. */
async function withNearName(server: Server, error: unknown, reference = ''): Promise<unknown> {
  if (!(error instanceof ServerRefusal) || error.code !== 'adapter_not_found') return error;
  if (error.message.includes('Did you mean')) return error;
  const { name } = parseReference(reference) ?? { name: reference };
  const known = await allPages<Adapter>(server, '/v1/adapters').catch(() => []);
  const meant = suggest(name, [...new Set(known.map((adapter) => adapter.name))]);
  return meant === null
    ? error
    : new ServerRefusal(error.status, error.code, `${error.message} Did you mean '${meant}'?`);
}

const addressOf = (name: string) => `/v1/adapters/${encodeURIComponent(name)}`;

const verbs: Readonly<Record<string, Verb>> = {
  list: {
    words: [0, 0],
    async run(server, { json, print, printJson }) {
      const adapters = await allPages<Adapter>(server, '/v1/adapters');
      if (json) printJson(adapters);
      else if (adapters.length === 0) print('No adapters. `lorikeet adapters push <folder>` makes one.');
      else for (const line of adapterTable(adapters)) print(line);
      return exitCodes.ok;
    },
  },
  show: {
    words: [1, 1],
    async run(server, { json, print, printJson }, [reference]) {
      const adapter = await server.get<Adapter>(addressOf(reference!));
      if (json) printJson(adapter);
      else print(describeAdapter(adapter));
      return exitCodes.ok;
    },
  },
  push: {
    words: [1, 1],
    async run(server, invocation, [folder]) {
      const { adapter, created } = await pushAdapter(server, invocation, folder!);
      if (invocation.json) invocation.printJson(adapter);
      else invocation.print(created ? `${adapter.id} is ready.` : `${adapter.id} is this content already.`);
      for (const warning of adapter.warnings) invocation.io.stderr.write(`lorikeet: ${warning}\n`);
      return exitCodes.ok;
    },
  },
  pull: {
    words: [1, 1],
    async run(server, invocation, [reference]) {
      if (reference!.startsWith('hf:')) return await verbs.push!.run(server, invocation, [reference!]);
      const adapter = await server.get<Adapter>(addressOf(reference!));
      const folder = await pullAdapter(server, invocation, adapter);
      if (invocation.json) invocation.printJson({ ...adapter, folder });
      else invocation.print(`${adapter.id} is in ${folder}.`);
      return exitCodes.ok;
    },
  },
  export: {
    words: [1, 1],
    async run(server, invocation, [reference]) {
      const adapter = await server.get<Adapter>(addressOf(reference!));
      const path = await exportAdapter(server, invocation, adapter);
      if (invocation.json) invocation.printJson({ ...adapter, path });
      else invocation.print(`The base model with ${adapter.id} merged in is ${path}.`);
      return exitCodes.ok;
    },
  },
  analyse: {
    words: [1, 1],
    async run(server, { flags, json, print, printJson }, [reference]) {
      const analysis = await readAnalysis(server, addressOf(reference!), flags.against);
      if (json) printJson(analysis);
      else for (const line of analysisTable(analysis)) print(line);
      return exitCodes.ok;
    },
  },
  alias: {
    words: [2, 3],
    async run(server, { flags, json, print, printJson }, [name, alias, version]) {
      const body = { ...versionOf(version), ...weightsOf(flags.weights) };
      if (Object.keys(body).length === 0) throw new UsageError('Write a version, or --weights 1=0.9,2=0.1.');
      const answer = await server.ask(`${addressOf(name!)}/aliases/${encodeURIComponent(alias!)}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      const set = (await answer.json()) as Alias;
      if (json) printJson(set);
      else print(`${set.id} is ${set.targets.map((target) => `${target.version} (${target.weight})`).join(', ')}.`);
      return exitCodes.ok;
    },
  },
  merge: {
    words: [1, 1],
    async run(server, invocation, [reference]) {
      const merge = await mergeAdapter(server, invocation, reference!);
      if (invocation.json) invocation.printJson(merge);
      else invocation.print(describeMerge(merge));
      return exitCodes.ok;
    },
  },
  unmerge: {
    words: [1, 1],
    async run(server, { json, print, printJson }, [reference]) {
      const merge = await unmergeAdapter(server, reference!);
      const names = merge.adapters.map(({ id }) => id).join(' + ');
      const when = merge.state === 'unmerged' ? '' : ' with the last request that runs on it';
      if (json) printJson(merge);
      else print(`${names} is unmerged${when}.`);
      return exitCodes.ok;
    },
  },
  rm: {
    words: [1, 1],
    async run(server, { json, print, printJson, flags }, [reference]) {
      if (flags.yes !== true) await assertSingle(server, reference!);
      const answer = await server.ask(removalOf(reference!), { method: 'DELETE' });
      const { id, deleted } = (await answer.json()) as { id: string; deleted: boolean };
      if (json) printJson({ id, deleted });
      else print(deleted ? `${id} is gone.` : `${id} takes no new requests and goes with the last that uses it.`);
      return exitCodes.ok;
    },
  },
};

/** Throws unless the reference deletes one version or alias: a name with more of them needs `--yes`. */
async function assertSingle(server: Server, reference: string): Promise<void> {
  const parsed = parseReference(reference);
  if (parsed === null || parsed.version !== null || parsed.alias !== null) return;
  const address = addressOf(parsed.name);
  const { data: versions } = await server.get<{ data: Adapter[] }>(`${address}/versions`);
  const { data: aliases } = await server.get<{ data: { id: string }[] }>(`${address}/aliases`);
  if (versions.length <= 1 && aliases.length === 0) return;
  const also = aliases.length === 0 ? '' : ` and the aliases ${aliases.map(({ id }) => id).join(', ')}`;
  const what = `${versions.length} version${versions.length === 1 ? '' : 's'}${also}`;
  throw new UsageError(`${reference} has ${what}. \`--yes\` deletes all; ${reference}@1 names a version alone.`);
}

function removalOf(reference: string): string {
  const parsed = parseReference(reference);
  if (parsed === null) throw new UsageError(`\`${reference}\` is no name, name@version or name:alias.`);
  const { name, version, alias } = parsed;
  if (alias !== null) return `${addressOf(name)}/aliases/${encodeURIComponent(alias)}`;
  return version === null ? addressOf(name) : `${addressOf(name)}/versions/${version}`;
}

function versionOf(word: string | undefined): { version?: number } {
  if (word === undefined) return {};
  if (!/^[1-9]\d{0,8}$/.test(word)) throw new UsageError(`\`${word}\` is no version: they are 1, 2, ...`);
  return { version: Number(word) };
}

function weightsOf(flag: unknown): { weights?: Record<string, number> } {
  if (flag === undefined) return {};
  const entries = String(flag)
    .split(',')
    .map((entry) => /^([1-9]\d{0,8})=(\d{1,6}(?:\.\d{1,9})?)$/.exec(entry.trim()));
  if (entries.includes(null)) throw new UsageError('--weights is a list such as 1=0.9,2=0.1.');
  return { weights: Object.fromEntries(entries.map((entry) => [entry![1]!, Number(entry![2])])) };
}
