import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { environmentForChildren, environmentForPip, loadConfig, settingTable } from '../../src/config.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { joinModules, vllmFlags } from '../../src/vllm-words.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-config-'));
after(() => rmSync(folder, { recursive: true }));

type Environment = Record<string, string>;
/** HF_HOME keeps a token that this machine may have out of it. */
const load = (flags: Record<string, string | boolean> = {}, env: Environment = {}, cwd = folder) =>
  loadConfig(flags, { HF_HOME: join(folder, 'hf'), ...env }, cwd);

function inFile(values: unknown, name = 'lorikeet.json'): string {
  const cwd = mkdtempSync(join(folder, 'case-'));
  writeFileSync(join(cwd, name), typeof values === 'string' ? values : JSON.stringify(values));
  return cwd;
}

const refusal = (param: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof LorikeetError, String(error));
  assert.deepEqual([error.code, error.param], ['invalid_config', param]);
  assert.match(error.message, message);
  return true;
};

test('defaults serve on loopback, with absolute paths, and cannot be changed', () => {
  const { config, origins } = load();
  assert.deepEqual([config.host, config.port, config.maxSequences], ['127.0.0.1', 8080, null]);
  assert.equal(config.dataDir, join(folder, '.lorikeet'));
  assert.equal(config.hfHubCache, join(folder, 'hf', 'hub'));
  assert.equal(origins.port, 'default');
  assert.throws(() => Object.assign(config, { port: 1 }), TypeError);
});

test('flags win over variables, those over the file, that over defaults', () => {
  const cwd = inFile({ port: 1, host: 'localhost', threads: 3, maxWaiting: 4 });
  const env = { LORIKEET_PORT: '2', LORIKEET_THREADS: '5' };
  const { config, origins } = load({ port: '3' }, env, cwd);
  assert.deepEqual([config.port, config.threads, config.maxWaiting], [3, 5, 4]);
  assert.deepEqual(
    [origins.port, origins.threads, origins.maxWaiting, origins.model],
    ['--port', 'LORIKEET_THREADS', 'lorikeet.json', 'default'],
  );
});

test("other servers' flags mean the same", () => {
  const { config, origins } = load({ 'max-num-seqs': '4', 'max-model-len': '512', 'api-key': 'token-abc123' });
  assert.deepEqual([config.maxSequences, config.maxContext, config.adminKey], [4, 512, 'token-abc123']);
  assert.equal(origins.maxContext, '--max-model-len');
});

test("vLLM's flags and variables become settings, ours go first, and each says where it came from", () => {
  const flags = { 'max-loras': '4', 'max-lora-rank': '20', 'enable-lora': true, 'enable-prefix-caching': false };
  const more = { 'max-num-batched-tokens': '64', 'allowed-origins': '["https://a.example","*"]', 'lora-dtype': 'auto' };
  const env = {
    VLLM_API_KEY: 'token-abc123',
    VLLM_LOGGING_LEVEL: 'WARNING',
    VLLM_LORA_RESOLVER_CACHE_DIR: '/adapters',
  };
  const plugins = { VLLM_PLUGINS: 'lora_filesystem_resolver', VLLM_ALLOW_RUNTIME_LORA_UPDATING: 'True' };
  const { config, origins } = load({ ...flags, ...more }, { ...env, ...plugins });
  assert.deepEqual([config.adapterPages, origins.adapterPages], [12, '--max-loras']);
  assert.deepEqual([config.prefixCacheMemory, config.prefillChunk], [0, 64]);
  assert.deepEqual([config.corsOrigins, config.logLevel], ['https://a.example,*', 'warn']);
  assert.deepEqual([config.adminKey, origins.adminKey], ['token-abc123', 'VLLM_API_KEY']);
  assert.deepEqual([config.adapterRoot, config.adapterResolver], ['/adapters', true]);
  assert.equal(load({ 'max-loras': '2' }).config.adapterPages, 4);
  assert.equal(load({}, { VLLM_CPU_KVCACHE_SPACE: '3' }).config.kvMemory, 3 * 1024 ** 3);
  assert.equal(load({}, { VLLM_CPU_KVCACHE_SPACE: '0' }).config.kvMemory, load().config.kvMemory);
  assert.equal(load({ 'max-lora-rank': '64' }).config.adapterPages, null);
  assert.equal(load({ 'max-loras': '2', 'adapter-pages': '9' }).config.adapterPages, 9);
  const both = { LORIKEET_ADMIN_KEY: 'a-key-of-ours', VLLM_API_KEY: 'theirs' };
  assert.equal(load({}, both).config.adminKey, 'a-key-of-ours');
  assert.equal(load({ 'api-key': 'the-flag-says' }, both).config.adminKey, 'the-flag-says');
});

test("what vLLM's words mean and this server has not is refused by the word, with what to write instead", () => {
  for (const [flag, value, message] of [
    ['max-cpu-loras', '8', /--max-cpu-loras is vLLM's, and not possible here: .*--adapter-memory/],
    ['tensor-parallel-size', '2', /only 1 is possible/],
    ['enable-lora', false, /adapters are always served/],
    ['max-loras', 'many', /whole number/],
    ['max-lora-rank', '0', /whole number/],
    ['dtype', 'bfloat16', /--device-precision bfloat16.*--weight-bits/],
    ['allowed-origins', 'https://a.example', /JSON list/],
  ] as const) {
    assert.throws(() => load({ [flag]: value }), refusal(`--${flag}`, message));
  }
  assert.throws(() => load({ 'uvicorn-log-level': 'loud' }), refusal('LORIKEET_LOG_LEVEL', /from --uvicorn-log-level/));
  const updating = 'VLLM_ALLOW_RUNTIME_LORA_UPDATING';
  assert.throws(() => load({}, { [updating]: '1' }), refusal(updating, /set LORIKEET_ADAPTER_ROOT/));
  const closed = { [updating]: '0', LORIKEET_ADAPTER_ROOT: '/a' };
  assert.throws(() => load({}, closed), refusal(updating, /leave one of the two out/));
  assert.equal(load({}, { [updating]: '0' }).config.adapterRoot, null);
  const [dir, root] = ['VLLM_LORA_RESOLVER_CACHE_DIR', 'LORIKEET_ADAPTER_ROOT'];
  assert.throws(() => load({}, { [dir]: '/a', [root]: '/b' }), refusal(dir, /another folder, \/b/));
  assert.throws(() => load({}, { VLLM_PLUGINS: 'mine' }), refusal('VLLM_PLUGINS', /there are no others/));
  const { unknownVariables } = load({}, { VLLM_USE_V1: '1', VLLM_PORT_80_TCP: 'x', VLLM_API_KEY: 'token-abc123' });
  assert.deepEqual(unknownVariables, ['VLLM_USE_V1']);
});

test('a list of modules as vLLM has it is one list, up to the next flag', () => {
  const json = '{"name":"c","path":"/c","base_model_name":"m"}';
  assert.deepEqual(joinModules(['m', '--lora-modules', 'a=/a', 'b=/b', json, '--port', '1']), [
    ...['m', '--lora-modules=a=/a,b=/b,c=/c', '--port', '1'],
  ]);
  assert.deepEqual(joinModules(['--lora-modules', 'a=/a,b=/b']), ['--lora-modules=a=/a,b=/b']);
  assert.deepEqual(joinModules(['--lora-modules', '--port', '1']), ['--lora-modules', '--port', '1']);
});

test('an empty variable is an unset one', () => {
  assert.equal(load({}, { LORIKEET_PORT: '' }).config.port, 8080);
});

for (const [name, value, message] of [
  ['LORIKEET_PORT', 'http', /LORIKEET_PORT must be a whole number from 0 to 65535, not "http"\./],
  ['LORIKEET_PORT', '65536', /from 0 to 65535/],
  ['LORIKEET_PORT', '-1', /from 0 to 65535/],
  ['LORIKEET_PORT', '0x50', /from 0 to 65535/],
  ['LORIKEET_PORT', 'tcp://10.0.0.7:8080', /Kubernetes .* enableServiceLinks/],
  ['LORIKEET_WEIGHT_BITS', '5', /must be one of 4, 8, 16, 32, not "5"/],
  ['LORIKEET_AUTO_UNMERGE_SHARE', '50', /\(50\) must be less than LORIKEET_AUTO_MERGE_SHARE \(50\)/],
  ['LORIKEET_LOG_LEVEL', 'loud', /must be one of trace, debug/],
  ['LORIKEET_MAX_SEQUENCES', '0', /from 1 to/],
  ['LORIKEET_MAX_SEQUENCES', '2.5', /whole number/],
  ['HF_HUB_OFFLINE', 'maybe', /must be on or off/],
  ['LORIKEET_TRAINING_SHARE', '0', /must be a number above 0, at most 1, not "0"/],
  ['LORIKEET_TRAINING_SHARE', '1.5', /at most 1/],
] as const) {
  test(`${name}=${value} is refused by name`, () => {
    assert.throws(() => load({}, { [name]: value }), refusal(name, message));
  });
}

test('a value from elsewhere is refused with its origin', () => {
  assert.throws(() => load({ port: 'x' }), refusal('LORIKEET_PORT', /\(from --port\)/));
  assert.throws(() => load({}, {}, inFile({ port: 'x' })), refusal('LORIKEET_PORT', /\(from lorikeet.json\)/));
  assert.throws(() => load({}, {}, inFile({ port: [1] })), refusal('LORIKEET_PORT', /must be a plain value/));
});

test('the file: unknown keys, bad JSON and a missing named file are refused', () => {
  assert.throws(() => load({}, {}, inFile({ prot: 1 })), refusal('prot', /has "prot", which is no setting/));
  assert.throws(() => load({}, {}, inFile('{')), refusal('LORIKEET_CONFIG', /not valid JSON/));
  assert.throws(() => load({}, {}, inFile('[]')), refusal('LORIKEET_CONFIG', /must hold a JSON object/));
  assert.throws(() => load({ config: 'absent.json' }), refusal('LORIKEET_CONFIG', /absent.json cannot be read/));
  assert.equal(load({ config: 'other.json' }, {}, inFile({ port: 7 }, 'other.json')).config.port, 7);
});

test('a device is one that there may be, and computes with floats that it has', () => {
  for (const device of ['cpu', 'webgpu', 'cuda', 'cuda:0', 'cuda:12']) {
    assert.equal(load({ device }).config.device, device);
  }
  for (const device of ['gpu', 'cuda:', 'cuda:x', 'CUDA', 'cuda:100', 'cpu:0', 'webgpu:1']) {
    assert.throws(() => load({ device }), refusal('LORIKEET_DEVICE', /cpu, cuda, cuda:<number> or webgpu/));
  }
  for (const device of ['cpu,cpu', 'cuda:0,cuda:1', 'cuda, cuda:3']) {
    assert.equal(load({ device }).config.device, device);
    assert.equal(load({ device }).config.trainingDevice, device.split(',')[0]);
  }
  for (const [device, why] of [
    ['cpu,cuda', /one kind/],
    ['cuda:0,cuda:0', /twice/],
    ['cuda,cuda:0', /twice/],
    ['cpu,', /must be cpu/],
    [Array(65).fill('cpu').join(','), /64 is the most/],
  ] as const) {
    assert.throws(() => load({ device }), refusal('LORIKEET_DEVICE', why), device);
  }
  assert.throws(() => load({ 'training-device': 'cuda:0,cuda:1' }), refusal('LORIKEET_TRAINING_DEVICE', /must be/));
  const floats = { device: 'cuda:0,cuda:1', 'device-precision': 'float32' };
  assert.throws(() => load(floats), refusal('LORIKEET_DEVICE_PRECISION', /float16 and bfloat16/));
  assert.equal(load({ device: 'webgpu' }).config.trainingDevice, 'webgpu');
  const apart = load({ device: 'cuda' }, { LORIKEET_TRAINING_DEVICE: 'cuda:1' });
  assert.deepEqual([apart.config.device, apart.config.trainingDevice], ['cuda', 'cuda:1']);
  assert.equal(load({ device: 'cuda', 'training-device': 'cpu' }).config.trainingDevice, 'cpu');
  assert.throws(() => load({ 'training-device': 'gpu' }), refusal('LORIKEET_TRAINING_DEVICE', /cpu, cuda, cuda:/));
  const trains = (device: string, precision: string) => () =>
    load({ 'training-device': device, 'training-precision': precision }).config.trainingPrecision;
  assert.equal(load().config.trainingPrecision, 'float32');
  assert.equal(trains('cuda:1', 'bfloat16')(), 'bfloat16');
  assert.equal(trains('webgpu', 'float32')(), 'float32');
  assert.throws(trains('cpu', 'bfloat16'), refusal('LORIKEET_TRAINING_PRECISION', /bfloat16.*processor/));
  assert.throws(trains('webgpu', 'bfloat16'), refusal('LORIKEET_TRAINING_PRECISION', /WebGPU has no bfloat16/));
  assert.throws(trains('cuda', 'float16'), refusal('LORIKEET_TRAINING_PRECISION', /must be one of float32, bfloat16/));
  const of = (device: string, precision: string) => () => load({ device, 'device-precision': precision });
  assert.equal(of('webgpu', 'float16')().config.devicePrecision, 'float16');
  assert.throws(of('cpu', 'float16'), refusal('LORIKEET_DEVICE_PRECISION', /float16.*processor/));
  assert.throws(of('cuda', 'float32'), refusal('LORIKEET_DEVICE_PRECISION', /float32.*bfloat16/));
  assert.equal(of('cuda:0,cuda:1', 'bfloat16')().config.devicePrecision, 'bfloat16');
  assert.throws(of('cpu', 'bfloat16'), refusal('LORIKEET_DEVICE_PRECISION', /bfloat16.*processor/));
  assert.throws(of('webgpu', 'bfloat16'), refusal('LORIKEET_DEVICE_PRECISION', /bfloat16.*webgpu/));
});

test('switches take words, and a flag without a value', () => {
  assert.equal(load({}, { HF_HUB_OFFLINE: 'ON' }).config.hfHubOffline, true);
  assert.equal(load({}, { HF_HUB_OFFLINE: '0' }).config.hfHubOffline, false);
  assert.equal(load({ offline: true }).config.hfHubOffline, true);
  assert.equal(load({ offline: false }, { HF_HUB_OFFLINE: '1' }).config.hfHubOffline, false);
});

test('secrets come from files too, and no message shows them', () => {
  const cwd = inFile('open-sesame-open\n', 'key');
  const { config, origins } = load({}, { LORIKEET_ADMIN_KEY_FILE: 'key' }, cwd);
  assert.deepEqual([config.adminKey, origins.adminKey], ['open-sesame-open', 'LORIKEET_ADMIN_KEY_FILE']);
  assert.throws(
    () => load({}, { LORIKEET_ADMIN_KEY_FILE: 'absent' }, cwd),
    refusal('LORIKEET_ADMIN_KEY_FILE', /cannot be read \(ENOENT\)/),
  );
});

test('an admin key that could be guessed, or never be sent, is refused and not shown', () => {
  for (const [key, reason] of [
    ['sesame', /must have 12 characters at least/],
    ['   ', /must have 12 characters at least/],
    ['open sesame open', /without spaces/],
    ['Öffne-dich-Sesam', /ASCII/],
  ] as const) {
    for (const [flags, env] of [
      [{ 'api-key': key }, {}],
      [{}, { LORIKEET_ADMIN_KEY: key }],
      [{}, { VLLM_API_KEY: key }],
    ]) {
      const isHidden = (error: Error) => key.trim() === '' || !error.message.includes(key);
      assert.throws(
        () => load(flags, env),
        (error: Error) => isHidden(error) && refusal('LORIKEET_ADMIN_KEY', reason)(error),
      );
    }
    const cwd = inFile(key, 'key');
    assert.throws(() => load({}, { LORIKEET_ADMIN_KEY_FILE: 'key' }, cwd), refusal('LORIKEET_ADMIN_KEY', reason));
  }
});

test("the hub's own variables and its saved token are read", () => {
  const home = inFile('hf_saved\n', 'token');
  assert.equal(load({}, { HF_HOME: home }).config.hfToken, 'hf_saved');
  assert.equal(load({}, { HF_HOME: home, HF_TOKEN: 'hf_given' }).config.hfToken, 'hf_given');
  assert.equal(load({}, { HF_HOME: '', XDG_CACHE_HOME: folder }).config.hfHome, join(folder, 'huggingface'));
});

test('a misspelt variable is told, what Kubernetes adds is not', () => {
  const { unknownVariables } = load({}, { LORIKEET_PROT: '1', LORIKEET_SERVICE_HOST: 'x', LORIKEET_PORT_80_TCP: 'x' });
  assert.deepEqual(unknownVariables, ['LORIKEET_PROT']);
});

test('no flag stands for two settings', () => {
  const own = Object.values(settingTable).flatMap(({ flag, aliases }) => [flag, ...aliases]);
  const flags = [...own, ...Object.keys(vllmFlags)];
  assert.equal(new Set(flags).size, flags.length);
});

test('children inherit where things are, and no secret', () => {
  const env = { PATH: '/bin', CUDA_VISIBLE_DEVICES: '0', LORIKEET_ADMIN_KEY: 'a', HF_TOKEN: 'b', NVIDIA_API_KEY: 'c' };
  assert.deepEqual(environmentForChildren(env), { PATH: '/bin', CUDA_VISIBLE_DEVICES: '0' });
});

test('pip inherits its own settings too, and no secret of ours', () => {
  const network = { HTTPS_PROXY: 'http://proxy', PIP_INDEX_URL: 'https://index', SSL_CERT_FILE: '/ca.pem' };
  const ours = { LORIKEET_ADMIN_KEY: 'a', LORIKEET_DATABASE_URL: 'postgres://', HF_TOKEN: 'b', VLLM_API_KEY: 'c' };
  const others = { AWS_SECRET_ACCESS_KEY: 'd', OPENAI_API_KEY: 'e' };
  const env = { PATH: '/bin', VIRTUAL_ENV: '/venv', ...network, ...ours, ...others };
  assert.deepEqual(environmentForPip(env), { PATH: '/bin', VIRTUAL_ENV: '/venv', ...network });
});
