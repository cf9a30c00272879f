// vLLM's flags and variables, so that start scripts written for vLLM work. A word with the same meaning becomes a
// setting of Lorikeet's; a word that asks for what Lorikeet always does is taken; every other word is refused by its
// name, with what to write instead. This module knows settings by the names of their variables alone.

import { LorikeetError } from './core/errors.ts';
import { pageRanks } from './core/page-sizes.ts';

/** Values by the settings' variables, each with the flag or variable that it came from. */
export type Translated = Readonly<Record<string, { readonly value: string; readonly origin: string }>>;

type Word = {
  /** Stands for the value in `--flag <placeholder>`; null for a switch. */
  readonly placeholder?: string | null;
  /** Text of this word in the table of docs/compatibility.md. */
  readonly says: string;
  /** Gives values of settings; a text is the reason of a refusal. */
  read(value: string, others: Others): Readonly<Record<string, string>> | string;
};
/** Reads the other flags (or variables) of the same command line (or environment). */
type Others = (name: string) => string | undefined;

const yes = ['true', '1'];

const is = (env: string, placeholder: string | null = 'value'): Word => ({
  placeholder,
  says: `\`${env}\``,
  read: (value) => ({ [env]: value }),
});
/** A word that asks for what is so anyway: it takes the values `only`, and refuses any other. */
const always = (only: readonly string[], why: string, placeholder: string | null = 'value'): Word => ({
  placeholder,
  says: `${placeholder === null && only === yes ? 'taken' : `only ${only.join(', ')}`}: ${why}`,
  read(value) {
    if (only.includes(value.toLowerCase())) return {};
    return placeholder === null ? why : `only ${only.join(' or ')} is possible: ${why}`;
  },
});
const never = (instead: string, placeholder: string | null = 'value'): Word => ({
  placeholder,
  says: `refused: ${instead}`,
  read: () => instead,
});

const logLevels: Readonly<Record<string, string>> = { warning: 'warn', critical: 'fatal' };
const logLevel: Word = {
  says: '`LORIKEET_LOG_LEVEL` (warning is warn, critical is fatal)',
  read: (value) => ({ LORIKEET_LOG_LEVEL: logLevels[value.toLowerCase()] ?? value.toLowerCase() }),
};
const count = (value: string) => (/^[1-9]\d{0,5}$/.test(value) ? Number(value) : null);
const noCount = 'must be a whole number above 0';
const oneDevice = 'an engine computes on one device';
const engines = 'engines are asked for by their devices: --device cuda:0,cuda:1';

export const vllmFlags: Readonly<Record<string, Word>> = {
  'enable-lora': always(yes, 'adapters are always served', null),
  'max-loras': {
    says: '`LORIKEET_ADAPTER_PAGES`, for so many adapters of `--max-lora-rank` (16, if left out) at once',
    read(value, others) {
      const [loras, rank] = [count(value), count(others('max-lora-rank') ?? '16')];
      if (loras === null || rank === null) return noCount;
      return { LORIKEET_ADAPTER_PAGES: String(loras * Math.ceil(rank / pageRanks)) };
    },
  },
  'max-lora-rank': {
    says: 'with `--max-loras` as above; alone it is taken, since every rank is served that fits',
    read: (value) => (count(value) === null ? noCount : {}),
  },
  'max-cpu-loras': never('adapters in memory are bounded by their bytes: --adapter-memory 1GiB'),
  'lora-dtype': always(['auto'], 'an adapter keeps the precision of its file'),
  'fully-sharded-loras': never(oneDevice, null),
  'lora-extra-vocab-size': always(['0'], 'adapters with more tokens than the base has are refused'),
  'max-num-batched-tokens': is('LORIKEET_PREFILL_CHUNK', 'n'),
  'enable-chunked-prefill': always(yes, 'prompts are always read in pieces', null),
  'enable-prefix-caching': {
    placeholder: null,
    says: 'taken; `--no-enable-prefix-caching` is `LORIKEET_PREFIX_CACHE_MEMORY=0`',
    read: (value): Record<string, string> => (yes.includes(value) ? {} : { LORIKEET_PREFIX_CACHE_MEMORY: '0' }),
  },
  'enforce-eager': {
    placeholder: null,
    says: '`LORIKEET_DEVICE_KERNELS=own`: steps are not recorded',
    read: (value): Record<string, string> => (yes.includes(value) ? { LORIKEET_DEVICE_KERNELS: 'own' } : {}),
  },
  'download-dir': is('HF_HUB_CACHE', 'path'),
  'allowed-origins': {
    placeholder: 'list',
    says: '`LORIKEET_CORS_ORIGINS`, from the JSON list',
    read(value) {
      const origins = jsonOf(value);
      if (!Array.isArray(origins) || !origins.every((origin) => typeof origin === 'string')) {
        return 'must be a JSON list of texts, such as \'["https://example.com"]\'';
      }
      return { LORIKEET_CORS_ORIGINS: origins.join(',') };
    },
  },
  'uvicorn-log-level': logLevel,
  'disable-log-requests': always(yes, 'prompts are never logged', null),
  'enable-log-requests': always(['false'], 'prompts are never logged', null),
  'enable-auto-tool-choice': always(yes, 'a model may always choose tools that a request has', null),
  'enable-prompt-tokens-details': always(yes, 'answers always say how much was cached', null),
  'tensor-parallel-size': always(['1'], oneDevice, 'n'),
  'pipeline-parallel-size': always(['1'], oneDevice, 'n'),
  'data-parallel-size': always(['1'], engines, 'n'),
  dtype: always(['auto'], '--device-precision bfloat16 is for a card, --weight-bits 16 for weights'),
  'load-format': always(['auto', 'safetensors', 'gguf'], "a file's format is seen from the file"),
  'tokenizer-mode': always(['auto'], "the model's own tokeniser is used"),
  'generation-config': always(
    ['vllm'],
    'requests say how they are sampled, and defaults are never read from the model',
  ),
  'tool-call-parser': never("leave it out: the model's chat template says how calls are written"),
  'reasoning-parser': never('leave it out: what stands between <think> and </think> is reasoning_content'),
  'chat-template': never("leave it out: the model's own is used"),
  'gpu-memory-utilization': never('the card is shared out by --max-sequences, --max-context and --adapter-pages'),
  'swap-space': never('sequences that give way are computed again: nothing is swapped'),
  'cpu-offload-gb': never('weights are held by what computes: --device cpu has the memory of the machine'),
  'kv-cache-dtype': never('--kv-type float16 or float32'),
  'block-size': never('blocks have 32 tokens'),
  quantization: never('--weight-bits 4 or 8, or a model whose file is packed'),
  tokenizer: never("the model's own is used: put its tokenizer.json beside the weights"),
  revision: never('it stands behind the model: hf:org/repo@revision'),
  'trust-remote-code': never("leave it out: no code of a model's is ever run", null),
  'speculative-config': never('its JSON is not read: `lorikeet help serve` lists what there is'),
  'scheduling-policy': never('leave it out: tenants share fairly, and quotas have weights and priorities'),
  'ssl-keyfile': never('TLS is the proxy before this server: docs/production.md', 'path'),
  'ssl-certfile': never('TLS is the proxy before this server: docs/production.md', 'path'),
  'root-path': never('the proxy before this server takes prefixes away: docs/production.md'),
};

/** vLLM's variables. A variable's own name comes first in its messages, so that the reader knows what to change. */
export const vllmVariables: Readonly<Record<string, Word>> = {
  VLLM_API_KEY: is('LORIKEET_ADMIN_KEY'),
  VLLM_LOGGING_LEVEL: logLevel,
  VLLM_ALLOW_RUNTIME_LORA_UPDATING: {
    says: 'only beside `LORIKEET_ADAPTER_ROOT` or `VLLM_LORA_RESOLVER_CACHE_DIR`, the folder to load from',
    read(value, others) {
      const root = others('LORIKEET_ADAPTER_ROOT') ?? others('VLLM_LORA_RESOLVER_CACHE_DIR');
      const isOn = yes.includes(value.toLowerCase());
      if (isOn && root === undefined) return 'set LORIKEET_ADAPTER_ROOT to the folder that adapters may be loaded from';
      if (!isOn && root !== undefined) return `it closes what ${root} opens: leave one of the two out`;
      return {};
    },
  },
  VLLM_LORA_RESOLVER_CACHE_DIR: {
    says: '`LORIKEET_ADAPTER_ROOT`, with `LORIKEET_ADAPTER_RESOLVER=on`',
    read(value, others) {
      const root = others('LORIKEET_ADAPTER_ROOT');
      if (root !== undefined && root !== value) return `LORIKEET_ADAPTER_ROOT is another folder, ${root}`;
      return { LORIKEET_ADAPTER_ROOT: value, LORIKEET_ADAPTER_RESOLVER: 'on' };
    },
  },
  VLLM_LORA_RESOLVER_HF_REPO_LIST: never('`lorikeet adapters pull hf:org/repo` loads from the hub, once and by digest'),
  VLLM_CPU_KVCACHE_SPACE: {
    says: '`LORIKEET_KV_MEMORY`, from GiB; 0 is the default',
    read(value): Record<string, string> | string {
      if (!/^\d{1,6}$/.test(value)) return 'must be a whole number of GiB';
      return Number(value) === 0 ? {} : { LORIKEET_KV_MEMORY: `${value}GiB` };
    },
  },
  VLLM_PLUGINS: always(['lora_filesystem_resolver'], 'it needs VLLM_LORA_RESOLVER_CACHE_DIR, and there are no others'),
};

type Given = Readonly<Record<string, string | boolean | undefined>>;

/** Translates vLLM's flags to settings. Throws `invalid_config`, naming the flag. */
export function translateFlags(flags: Given): Translated {
  const others: Others = (name) => (flags[name] === undefined ? undefined : String(flags[name]));
  return translate(vllmFlags, flags, others, (name) => `--${name}`);
}

/** Translates vLLM's variables to settings. Throws `invalid_config`, naming the variable. */
export function translateVariables(env: Readonly<Record<string, string | undefined>>): Translated {
  return translate(vllmVariables, env, (name) => env[name] || undefined, String);
}

function translate(
  words: Readonly<Record<string, Word>>,
  given: Given,
  others: Others,
  spell: (name: string) => string,
) {
  const found: Record<string, { value: string; origin: string }> = {};
  for (const [name, word] of Object.entries(words)) {
    const value = given[name];
    if (value === undefined || value === '') continue;
    const read = word.read(String(value), others);
    if (typeof read === 'string') {
      const message = `${spell(name)} is vLLM's, and not possible here: ${read}.`;
      throw new LorikeetError('invalid_config', { message, param: spell(name) });
    }
    for (const [env, own] of Object.entries(read)) found[env] = { value: own, origin: spell(name) };
  }
  return found;
}

/**
 * Joins the words of vLLM's `--lora-modules`, each `name=path` or JSON, into the one text that Lorikeet's flag takes.
 * The list ends at the next flag.
 */
export function joinModules(words: readonly string[]): string[] {
  const at = words.indexOf('--lora-modules');
  if (at < 0) return [...words];
  const from = words.slice(at + 1);
  const end = from.findIndex((word) => !/^(\{|[^-=\s][^=]*=)/.test(word));
  const modules = end < 0 ? from : from.slice(0, end);
  if (modules.length === 0) return [...words];
  const list = modules.map(moduleOf).join(',');
  return [...words.slice(0, at), `--lora-modules=${list}`, ...from.slice(modules.length)];
}

function moduleOf(word: string): string {
  const { name, path } = (jsonOf(word) ?? {}) as { name?: unknown; path?: unknown };
  return typeof name === 'string' && typeof path === 'string' ? `${name}=${path}` : word;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
