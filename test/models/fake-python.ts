// Stands in for a Python whose pip downloads: copies an archive, counts its calls, and can be slow or fail.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildZip } from '../formats/zip-builder.ts';

export type FakePython = { path: string; calls: () => number };

export function fakePython(
  folder: string,
  members: Record<string, Buffer>,
  behaviour: { delayMs?: number; stderr?: string; exitCode?: number } = {},
): FakePython {
  const path = join(folder, 'python3');
  const archive = join(folder, 'archive.zip');
  const calls = join(folder, 'calls');
  writeFileSync(
    archive,
    buildZip(Object.entries(members).map(([name, content]) => ({ name, content, deflated: true }))),
  );
  const program = `#!${process.execPath}
const fs = require('node:fs');
fs.appendFileSync(${JSON.stringify(calls)}, 'x');
const dest = process.argv.find((part) => part.startsWith('--dest=')).slice(7);
setTimeout(() => {
  process.stderr.write(${JSON.stringify(behaviour.stderr ?? '')});
  const wheel = dest + '/package-1.0-py3-none-any.whl';
  if (${behaviour.exitCode ?? 0} === 0) fs.copyFileSync(${JSON.stringify(archive)}, wheel);
  process.exit(${behaviour.exitCode ?? 0});
}, ${behaviour.delayMs ?? 0});
`;
  writeFileSync(path, program, { mode: 0o755 });
  return { path, calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').length : 0) };
}
