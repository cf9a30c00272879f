// The house rules as a test: which folder may import which, single doors, sizes, words. Reads text; runs nothing.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Tracked files and new ones that are not ignored; what is deleted but not committed yet is left out. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(root, file)));
const texts = new Map(
  files.filter((file) => /\.(ts|js)$/.test(file)).map((file) => [file, readFileSync(join(root, file), 'utf8')]),
);
const sources = [...texts.keys()].filter((file) => file.startsWith('src/'));

// --- directions ---

const below = ['core', 'formats', 'tokenizer', 'protocol', 'grammar', 'templates', 'metrics', 'runtime', 'settings'];
const settings = ['config', 'vllm-words'];
/** What a folder (or a file directly in src/) may import, beside itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  core: [],
  settings: ['core'],
  'vllm-words': ['core'],
  'config-checks': ['core'],
  config: ['core', 'settings', 'vllm-words', 'config-checks'],
  formats: ['core'],
  tokenizer: ['core'],
  protocol: ['core'],
  metrics: ['core'],
  runtime: ['core'],
  models: ['core', 'formats'],
  graph: ['core', 'formats', 'models'],
  storage: ['core'],
  templates: ['core', 'protocol'],
  registry: ['core', 'formats', 'protocol', 'storage'],
  tenants: ['core', 'storage'],
  jobs: ['core', 'formats', 'protocol', 'storage', 'registry', 'tenants'],
  backup: ['core', 'formats', 'storage', 'jobs'],
  tracing: ['core'],
  wasm: ['core'],
  grammar: ['core', 'wasm'],
  engine: ['core', 'formats', 'models', 'graph', 'runtime', 'protocol', 'wasm', 'grammar'],
  training: ['core', 'formats', 'models', 'graph', 'runtime', 'protocol', 'tokenizer'],
  // One-shot processes: work on weights outside serving.
  offline: ['core', 'formats', 'models', 'graph', 'protocol', 'tokenizer'],
  server: [
    ...['core', 'protocol', 'grammar', 'tokenizer', 'templates', 'metrics', 'tracing', 'storage', 'registry'],
    ...['tenants', 'jobs'],
  ],
  // What runs in a browser: of the server it knows the shapes of answers, as types.
  console: ['server'],
  main: [...below, 'config', 'tracing', 'models', 'storage', 'registry', 'tenants', 'jobs', 'server'],
  cli: [...below, ...settings, 'models', 'storage', 'registry', 'tenants', 'jobs', 'backup', 'server', 'main'],
};
/** Processes of their own: started by path, never imported. */
const entries = [
  'src/cli/main.ts',
  'src/engine/main.ts',
  'src/training/main.ts',
  'src/offline/main.ts',
  'src/runtime/probe.ts',
  'src/runtime/aside-thread.ts',
  'src/storage/sqlite/sqlite-thread.ts',
  'src/grammar/thread.ts',
  'src/templates/main.ts',
  'src/templates/orphan-thread.ts',
  'src/console/main.ts',
];

const areaOf = (file: string) => (/^src\/([^/]+)\//.exec(file) ?? /^src\/(.+)\.ts$/.exec(file))?.[1] ?? '';

/** Every specifier, of `import type`, `export ... from`, `import()` and side-effect imports too. */
function specifiers(text: string): string[] {
  const found = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^'\n]+)'/g)];
  return found.map(([, specifier]) => specifier!);
}

const resolve = (file: string, specifier: string) => join(dirname(file), specifier);

const edges = sources.flatMap((file) =>
  specifiers(texts.get(file)!)
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => ({ file, target: resolve(file, specifier) })),
);

test('folders import only what lies below them, types included', () => {
  const upward = edges.filter(({ file, target }) => {
    const [from, to] = [areaOf(file), areaOf(target)];
    return from !== to && !mayImport[from]?.includes(to);
  });
  assert.deepEqual(upward, []);
});

/** The engine's rooms from the lowest: policies know numbers only, the loop knows all the others. */
const engineRooms = ['policies', 'sampling', 'speculation', 'kv', 'adapters', 'runner', 'merges', 'loop'];

test("the engine's rooms import only rooms below them", () => {
  const heightOf = (file: string) => engineRooms.indexOf(/^src\/engine\/([^/]+)\//.exec(file)?.[1] ?? '');
  const inEngine = edges.filter(({ target }) => target.startsWith('src/engine/'));
  const upward = inEngine.filter(({ file, target }) => {
    const [from, to] = [heightOf(file), heightOf(target)];
    return to < 0 ? from >= 0 : from >= 0 && from < to;
  });
  assert.deepEqual(upward, []);
  const strangers = sources.filter((file) => /^src\/engine\/.+\//.test(file) && heightOf(file) < 0);
  assert.deepEqual(strangers, []);
});

test('every import exists, and src imports nothing outside itself', () => {
  const lost = edges.filter(({ target }) => !target.startsWith('src/') || !existsSync(join(root, target)));
  assert.deepEqual(lost, []);
});

test("the browser is sent nothing of the server's code", () => {
  const borrowed = sources
    .filter((file) => file.startsWith('src/console/') && file !== 'src/console/api/types.ts')
    .filter((file) => specifiers(texts.get(file)!).some((specifier) => specifier.includes('/server/')));
  assert.deepEqual(borrowed, []);
  assert.doesNotMatch(withoutComments(texts.get('src/console/api/types.ts')!), /^(import|export)(?! type )/m);
});

test('no cycles, types included', () => {
  const targets = Map.groupBy(edges, ({ file }) => file);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    assert.ok(!path.includes(file), `cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
    if (done.has(file)) return;
    for (const { target } of targets.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
});

test('every source file is reached from an entry', () => {
  const targets = Map.groupBy(edges, ({ file }) => file);
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file)) return;
    reached.add(file);
    for (const { target } of targets.get(file) ?? []) visit(target);
  };
  for (const entry of entries.filter((file) => texts.has(file))) visit(entry);
  assert.deepEqual(
    sources.filter((file) => !reached.has(file)),
    [],
  );
});

/** What a body may say is the interface, which /openapi.json shows; all other limits are a server's own. */
const interfaceOfServer = /^src\/server\/(schemas\/|generation\/(plain-schema|tools\/call-forms)\.ts)/;

test('the server takes its limits from whoever makes it, except for the forms of bodies', () => {
  const imports = /^import (?!type).*\blimits\b.*\/core\/limits\.ts'/m;
  const global = sources.filter((file) => file.startsWith('src/server/') && imports.test(texts.get(file)!));
  assert.deepEqual(
    global.filter((file) => !interfaceOfServer.test(file)),
    [],
  );
});

// --- single doors ---

type Door = { readonly what: string; readonly pattern: RegExp; readonly where: RegExp };
const doors: readonly Door[] = [
  { what: 'fastify', pattern: /from '(fastify|@fastify\/[^']+)'/, where: /^src\/server\// },
  { what: 'koffi and ONNX Runtime', pattern: /'(koffi|onnxruntime-[^']+)'/, where: /^src\/runtime\// },
  { what: 'SQL', pattern: /from '(kysely|node:sqlite|pg)'/, where: /^src\/storage\// },
  { what: 'the environment', pattern: /\bprocess\.env\b/, where: /^src\/config\.ts$/ },
  {
    what: 'the clock',
    pattern: /\bDate\.now\b|\bperformance\.now\b|new Date\(\)/,
    where: /^src\/(core\/clock|console\/time)\.ts$/,
  },
  { what: 'child processes', pattern: /'node:child_process'/, where: /^src\/(protocol|models|cli)\// },
  { what: 'metrics library', pattern: /from 'prom-client'/, where: /^src\/metrics\// },
  { what: 'worker threads', pattern: /'node:worker_threads'/, where: /^src\/(runtime|grammar|storage|templates)\// },
  { what: 'WebAssembly', pattern: /\bWebAssembly\b/, where: /^src\/wasm\// },
  { what: "the browser's libraries", pattern: /from '(preact|uplot)[^']*'/, where: /^src\/console\// },
  { what: 'the key of a tab', pattern: /'lorikeet-key'/, where: /^src\/console\/state\/session\.ts$/ },
  { what: 'randomness', pattern: /\bMath\.random\b/, where: /^$/ },
];

/** Comments say the names of what a file does not use. */
const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

for (const { what, pattern, where } of doors) {
  test(`a single door: ${what}`, () => {
    const users = sources.filter((file) => pattern.test(withoutComments(texts.get(file)!)));
    assert.deepEqual(
      users.filter((file) => !where.test(file)),
      [],
    );
  });
}

// --- sizes ---

const lineCount = (text: string) => text.split('\n').length - 1;

test('files are small', (context) => {
  const counts = sources.map((file) => lineCount(texts.get(file)!)).sort((a, b) => a - b);
  const median = counts[Math.floor(counts.length / 2)]!;
  context.diagnostic(`${counts.length} files in src/, median ${median} lines, longest ${counts.at(-1)}`);
  const lengths = [...texts].map(([file, text]) => ({ file, lines: lineCount(text) }));
  for (const { file, lines } of lengths) if (lines > 300) context.diagnostic(`long: ${file}, ${lines} lines`);
  assert.deepEqual(
    lengths.filter(({ lines }) => lines > 500),
    [],
  );
  assert.ok(median <= 80, `the median file has ${median} lines`);
});

/**
 * Top-level functions and methods, found by the formatter's indentation: from the line that opens a body to the line
 * that closes it at the same depth, without lines that hold only a comment.
 */
function longFunctions(text: string, linesMax: number): string[] {
  const lines = text.split('\n');
  const named = ['function\\*? ?(\\w*)', '(?:static |async |get |\\*)*(#?\\w+)(?:<.*>)?\\(', 'const (\\w+) = .*=>'];
  const opens = new RegExp(`^( {0,4})(?:export )?(?:default )?(?:async )?(?:${named.join('|')}).*\\{$`);
  return lines.flatMap((line, start) => {
    const [, indent, ...names] = opens.exec(line) ?? [];
    const name = names.find(Boolean);
    if (indent === undefined || name === undefined || /^(if|for|while|switch|catch)$/.test(name)) return [];
    const last = lines.findIndex((other, index) => index > start && other.startsWith(`${indent}}`));
    const length = lines.slice(start, last + 1).filter((line) => !isComment.test(line)).length;
    return length > linesMax ? [`${name}: ${length} lines`] : [];
  });
}

/** A line of `//`, or one of a block comment as the formatter writes it. */
const isComment = /^ *(\/\/|\/\*\*|\* |\*\/)/;

test('functions are short', () => {
  assert.deepEqual(longFunctions(`function f() {\n${'  x();\n'.repeat(69)}}`, 70), ['f: 71 lines']);
  const commented = '  // a\n  /** b */\n  /**\n   * c\n   */\n';
  assert.deepEqual(longFunctions(`function f() {\n${commented}${'  x();\n'.repeat(68)}}`, 70), []);
  const long = [...texts]
    .filter(([file]) => !file.startsWith('test/'))
    .flatMap(([file, text]) => longFunctions(text, 70).map((found) => `${file}: ${found}`));
  assert.deepEqual(long, []);
});

test('lines are short', () => {
  const long = [...texts].flatMap(([file, text]) =>
    text.split('\n').flatMap((line, index) => (line.length > 120 ? [`${file}:${index + 1}`] : [])),
  );
  assert.deepEqual(long, []);
});

test('nothing large is checked in', () => {
  const bytesMax = 2 * 2 ** 20;
  const large = files.filter((file) => statSync(join(root, file)).size > bytesMax);
  assert.deepEqual(large, []);
});

// --- words ---

/** The glossary's other words for things that have a name here; whole parts of camelCase or snake_case names. */
const bannedParts: Readonly<Record<string, string>> = {
  foundation: 'base model',
  backbone: 'base model',
  fuse: 'merge',
  bake: 'merge',
  lane: 'slot',
  tick: 'step',
  iteration: 'step',
  manager: 'a noun that says what it does',
  helper: 'a noun that says what it does',
  utils: 'a noun that says what it holds',
};

/** tokenizer.json calls one of its own options so. */
const isForeign = (file: string, part: string) => file.startsWith('src/tokenizer/') && part === 'fuse';

test('one word a thing', () => {
  const used = sources.flatMap((file) => {
    const code = withoutComments(texts.get(file)!).replace(/'[^'\n]*'|`[^`]*`/g, '');
    const parts = `${code} ${file}`.match(/[A-Z]?[a-z]+/g) ?? [];
    return [...new Set(parts.map((part) => part.toLowerCase()))]
      .filter((part) => Object.hasOwn(bannedParts, part) && !isForeign(file, part))
      .map((part) => `${file}: ${part}, say ${bannedParts[part]}`);
  });
  assert.deepEqual(used, []);
});

/** Comments that begin with "Of" or "By", which are fragments whose subject is missing. */
const withoutSubject = (text: string) =>
  [...text.matchAll(/(?:\/\*\*?\s+(?:\* )?|(?<!\/\/.*\n *)\/\/ )(?:Of|By)\b.*/g)].map(([comment]) => comment);

test('comments name their subject', () => {
  const fragments = ['** Of a row. */', '**\n * By row. */', '/ Of a row.'].map((rest) => `x;\n/${rest}`);
  assert.deepEqual(
    fragments.map((text) => withoutSubject(text).length),
    [1, 1, 1],
  );
  const sentences = ['Rows are sorted.', 'By then all are read.'].map((line) => `// ${line}`).join('\n');
  assert.deepEqual(withoutSubject(sentences), []);
  const kinds = /^(src|native|scripts|bench|test)\/(?!fixtures\/).*\.(ts|js|c|h|cu)$/;
  const found = files
    .filter((file) => kinds.test(file))
    .flatMap((file) => withoutSubject(texts.get(file) ?? readFileSync(join(root, file), 'utf8')).map((c) => [file, c]));
  assert.deepEqual(found, []);
});

test('files are kebab-case', () => {
  const odd = [...texts.keys()].filter(
    (file) => !/^[a-z0-9-]+(\.(models|simulation))?(\.test)?\.(ts|js)$/.test(file.split('/').at(-1)!),
  );
  assert.deepEqual(odd, []);
});

test('every source file says what it is', () => {
  const silent = sources.filter((file) => !/^(#!.*\n)?(\/\/|\/\*)/.test(texts.get(file)!));
  assert.deepEqual(silent, []);
});

test('nothing is left undone, and no test is singled out', () => {
  const marks = new RegExp(['TO', 'DO|FIX', 'ME|X', 'XX'].join(''));
  const marked = [...texts].filter(([, text]) => marks.test(text)).map(([file]) => file);
  assert.deepEqual(marked, []);
  const single = [...texts]
    .filter(([file, text]) => file.endsWith('.test.ts') && /\b(test|it|describe|suite)\.only\(|\bonly: true/.test(text))
    .map(([file]) => file)
    .filter((file) => file !== relative(root, fileURLToPath(import.meta.url)));
  assert.deepEqual(single, []);
});

test('package-lock.json names no host, so that any registry can serve it', () => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  type Entry = { resolved?: string; integrity?: string; os?: string[]; version: string };
  const { packages } = JSON.parse(lock) as { packages: Record<string, Entry> };
  const bound = Object.entries(packages).filter(([path, { resolved }]) => path !== '' && resolved !== undefined);
  assert.deepEqual(bound, []);
  // A registry without another platform's binaries cannot say their digests; all others have one.
  const here = (entry: Entry) => entry.os === undefined || entry.os.includes(process.platform);
  const unproven = Object.entries(packages).filter(
    ([path, entry]) => path !== '' && entry.integrity === undefined && here(entry) && existsSync(join(root, path)),
  );
  assert.deepEqual(unproven, []);
});

test('package-lock.json has every platform, so that npm ci works on each', () => {
  type Entry = { optionalDependencies?: Record<string, string> };
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Entry> };
  const missing = Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !lock.packages[`node_modules/${name}`] && !lock.packages[`${path}/node_modules/${name}`],
    ),
  );
  assert.deepEqual(missing, []);
});
