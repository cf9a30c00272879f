// The console's files as a browser gets them: types stripped, each compressed once. They are read at the first request,
// one after the other, so that other answers are not delayed, and then served from memory.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

export type Asset = { readonly type: string; readonly plain: Buffer; readonly gzip: Buffer };

export type Assets = {
  /** Hash of all files. It is part of every address, so that the bytes at an address never change. */
  readonly digest: string;
  /** Files by the address below the digest: `main.ts`, `console.css`, `lib/preact`. */
  readonly files: ReadonlyMap<string, Asset>;
};

type Plain = Omit<Asset, 'gzip'>;

const folder = fileURLToPath(new URL('../../console', import.meta.url));

/** Names of packages that the console imports, with the file of each package. */
export const libraries: Readonly<Record<string, string>> = {
  preact: 'preact',
  'preact/hooks': 'preact/hooks',
  uplot: 'uplot/dist/uPlot.esm.js',
};

const types: Readonly<Record<string, string>> = {
  // A browser runs a module by its media type, whatever its name ends in.
  '.ts': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

let known: Promise<Assets> | null = null;

export function consoleAssets(): Promise<Assets> {
  known ??= read();
  return known;
}

export const libraryPath = (name: string) => `lib/${name}`;

async function read(): Promise<Assets> {
  const plain = await readPlain();
  const hash = createHash('sha256');
  for (const [path, { plain: bytes }] of plain) hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  // gzip of all files runs in libuv's threads, at the same time.
  const pack = async ([path, file]: [string, Plain]) =>
    [path, { ...file, gzip: await promisify(gzip)(file.plain) }] as const;
  return { digest: hash.digest('hex').slice(0, 16), files: new Map(await Promise.all([...plain].map(pack))) };
}

async function readPlain(): Promise<Map<string, Plain>> {
  const files = new Map<string, Plain>();
  const fromPackage = (specifier: string) => readFile(fileURLToPath(import.meta.resolve(specifier)));
  // All sheets become one file: first that of uPlot, then the console's in the order of their names.
  const sheets = [await fromPackage('uplot/dist/uPlot.min.css')];
  const names = (await readdir(folder, { recursive: true, encoding: 'utf8' })).sort();
  for (const name of names) {
    const type = types[extname(name)];
    if (type === undefined) continue;
    const bytes = await readFile(join(folder, name));
    if (name.endsWith('.css')) sheets.push(bytes);
    else files.set(name.replaceAll('\\', '/'), { type, plain: name.endsWith('.ts') ? stripped(bytes) : bytes });
  }
  files.set('console.css', { type: types['.css']!, plain: Buffer.concat(sheets) });
  for (const [name, specifier] of Object.entries(libraries)) {
    files.set(libraryPath(name), { type: types['.ts']!, plain: await fromPackage(specifier) });
  }
  return files;
}

const stripped = (bytes: Buffer): Buffer => Buffer.from(stripTypeScriptTypes(bytes.toString()));
