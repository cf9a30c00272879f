// The console's one page, and the policy that it runs under: nothing but this server's own files, no inline code but
// the import map, whose hash is named.

import { createHash } from 'node:crypto';
import { type Assets, libraries, libraryPath } from './assets.ts';

export type Page = { readonly html: string; readonly policy: string };

/** Looked at first: fetched beside each other instead of one after the other as imports are found. */
const views = /^views\/(?!adapters\/)|^parts\/(chart|curves)/;

export function consolePage({ digest, files }: Assets): Page {
  const at = (path: string) => `assets/${digest}/${path}`;
  const imports = Object.fromEntries(Object.keys(libraries).map((name) => [name, `./${at(libraryPath(name))}`]));
  const map = JSON.stringify({ imports });
  const all = [...files.keys()];
  const sheets = all.filter((path) => path.startsWith('styles/'));
  const early = [
    ...all.filter((path) => path.endsWith('.ts') && !views.test(path)),
    ...['preact', 'preact/hooks'].map(libraryPath),
  ];
  const html = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    '<title>Lorikeet</title>',
    `<link rel="icon" type="image/svg+xml" href="${at('icon.svg')}">`,
    ...sheets.map((path) => `<link rel="stylesheet" href="${at(path)}">`),
    `<script type="importmap">${map}</script>`,
    ...early.map((path) => `<link rel="modulepreload" href="${at(path)}">`),
    `<script type="module" src="${at('main.ts')}"></script>`,
    '</head>',
    '<body><div id="app"></div><noscript>The console needs JavaScript.</noscript></body>',
    '</html>',
  ].join('\n');
  return { html, policy: policyOf(map) };
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
