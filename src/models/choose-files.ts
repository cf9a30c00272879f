// Chooses the files of a folder or repository that make up its base model. Knows only names.

import { LorikeetError } from '../core/errors.ts';

export type ChosenFiles = {
  readonly kind: 'gguf' | 'safetensors';
  /** The name of a single file, or of the index that lists the shards. */
  readonly weights: { readonly file: string } | { readonly index: string };
  readonly sidecars: readonly string[];
};

export const indexName = 'model.safetensors.index.json';

/** Files beside the weights that the tokeniser or the graph may read. */
const sidecarNames = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

/**
 * Chooses files. `names` are those at the top level; `where` names the folder in messages; `wanted` is a file's name.
 */
export function chooseFiles(names: readonly string[], where: string, wanted: string | null = null): ChosenFiles {
  if (wanted !== null) {
    if (!names.includes(wanted)) unavailable(`${where} has no ${wanted}; it has ${list(names)}`);
    return wanted.endsWith('.gguf') ? gguf(wanted) : safetensors(names, { file: wanted });
  }
  if (names.includes('config.json')) {
    if (names.includes(indexName)) return safetensors(names, { index: indexName });
    if (names.includes('model.safetensors')) return safetensors(names, { file: 'model.safetensors' });
  }
  const ggufs = names.filter((name) => name.endsWith('.gguf'));
  if (ggufs.length === 1) return gguf(ggufs[0]!);
  if (ggufs.length > 1) unavailable(`${where} holds several GGUF files; name one of ${list(ggufs)}`);
  unavailable(`${where} holds no model: neither config.json with model.safetensors nor a GGUF file`);
}

/** Lists the shards that an index names, sorted. A name with a path in it is refused: it could lead anywhere. */
export function shardNames(index: Readonly<Record<string, unknown>>): string[] {
  const map = index.weight_map;
  const names = typeof map === 'object' && map !== null ? [...new Set(Object.values(map))].sort() : [];
  const good = names.every((name) => typeof name === 'string' && /^\w[\w.-]{0,254}\.safetensors$/.test(name));
  if (names.length === 0 || !good) {
    throw new LorikeetError('model_file_invalid', { message: `Invalid ${indexName}: weight_map names no shards.` });
  }
  return names as string[];
}

const gguf = (file: string): ChosenFiles => ({ kind: 'gguf', weights: { file }, sidecars: [] });

const safetensors = (names: readonly string[], weights: ChosenFiles['weights']): ChosenFiles => ({
  kind: 'safetensors',
  weights,
  sidecars: [...sidecarNames, ...('index' in weights ? [weights.index] : [])].filter((name) => names.includes(name)),
});

const list = (names: readonly string[]) => names.slice(0, 20).join(', ') || 'nothing';

function unavailable(reason: string): never {
  throw new LorikeetError('model_unavailable', { message: `${reason}.` });
}
