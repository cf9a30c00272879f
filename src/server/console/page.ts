// The console's one page, and its content security policy: it allows this server's own files only, and of inline code
// only the import map, by its hash.

import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { type Assets, libraries, libraryPath } from './assets.ts';

export type Page = { readonly html: string; readonly policy: string };

/** Modules of the first view; their imports are preloaded too. Other views are fetched when they are opened. */
const first = ['main.ts', 'views/adapters.ts'];

export function consolePage(assets: Assets): Page {
  const at = (path: string) => `assets/${assets.digest}/${path}`;
  const imports = Object.fromEntries(Object.keys(libraries).map((name) => [name, `./${at(libraryPath(name))}`]));
  const map = JSON.stringify({ imports });
  const html = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    '<title>Lorikeet</title>',
    `<link rel="icon" type="image/svg+xml" href="${at('icon.svg')}">`,
    `<link rel="stylesheet" href="${at('console.css')}">`,
    `<script type="importmap">${map}</script>`,
    // Preloaded at once, instead of one after the other as the browser finds imports.
    ...[...withImports(assets, first)].map((path) => `<link rel="modulepreload" href="${at(path)}">`),
    `<script type="module" src="${at('main.ts')}"></script>`,
    '</head>',
    '<body><div id="app"></div><noscript>The console needs JavaScript.</noscript></body>',
    '</html>',
  ].join('\n');
  return { html, policy: policyOf(map) };
}

/** Matches static imports alone: the module of an `import()` is loaded when that is called. */
const importPattern = /^(?:import|export)[^;]*?\bfrom '([^']+)';/gm;

function withImports({ files }: Assets, paths: readonly string[]): Set<string> {
  const found = new Set<string>();
  const visit = (path: string) => {
    const file = files.get(path);
    if (file === undefined || found.has(path)) return;
    found.add(path);
    for (const [, specifier = ''] of file.plain.toString().matchAll(importPattern)) {
      visit(specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : libraryPath(specifier));
    }
  };
  for (const path of paths) visit(path);
  return found;
}

function policyOf(importMap: string): string {
  const hash = createHash('sha256').update(importMap).digest('base64');
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${hash}'`,
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
