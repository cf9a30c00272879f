// The console's files as a browser takes them: types stripped, each compressed once. Read when somebody first asks;
// afterwards they are served from memory.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { constants, gzipSync } from 'node:zlib';

export type Asset = { readonly type: string; readonly plain: Buffer; readonly gzip: Buffer };

export type Assets = {
  /** Part of every address, so that an address's bytes never change. */
  readonly digest: string;
  /** By the address below the digest: `main.ts`, `console.css`, `lib/preact`. */
  readonly files: ReadonlyMap<string, Asset>;
};

const folder = fileURLToPath(new URL('../../console', import.meta.url));

/** What the page imports by name, and where a package keeps it. */
export const libraries: Readonly<Record<string, string>> = {
  preact: 'preact',
  'preact/hooks': 'preact/hooks',
  uplot: 'uplot/dist/uPlot.esm.js',
};

const types: Readonly<Record<string, string>> = {
  // A browser runs a module by its type, whatever its name ends in.
  '.ts': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

let known: Assets | null = null;

export function consoleAssets(): Assets {
  known ??= read();
  return known;
}

export const libraryPath = (name: string) => `lib/${name}`;

function read(): Assets {
  const files = new Map<string, Asset>();
  const fromPackage = (specifier: string) => readFileSync(fileURLToPath(import.meta.resolve(specifier)));
  // Sheets go in one: in the order of their names, behind that of the plots.
  const sheets = [fromPackage('uplot/dist/uPlot.min.css')];
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    const type = types[extname(name)];
    if (name.endsWith('.css')) sheets.push(readFileSync(join(folder, name)));
    else if (type !== undefined) files.set(name.replaceAll('\\', '/'), asset(type, source(join(folder, name))));
  }
  files.set('console.css', asset('text/css; charset=utf-8', Buffer.concat(sheets)));
  for (const [name, specifier] of Object.entries(libraries)) {
    files.set(libraryPath(name), asset(types['.ts']!, fromPackage(specifier)));
  }
  const hash = createHash('sha256');
  for (const [path, { plain }] of files) hash.update(`${path}\0${plain.length}\0`).update(plain);
  return { digest: hash.digest('hex').slice(0, 16), files };
}

const source = (path: string): Buffer => {
  const bytes = readFileSync(path);
  return path.endsWith('.ts') ? Buffer.from(stripTypeScriptTypes(bytes.toString())) : bytes;
};

const asset = (type: string, plain: Buffer): Asset => ({
  type,
  plain,
  gzip: gzipSync(plain, { level: constants.Z_BEST_COMPRESSION }),
});
