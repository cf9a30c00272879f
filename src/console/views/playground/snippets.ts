// Writes the request for curl and for Python. The key is a variable and never written out.

import type { GenerateBody } from '../../api/types.ts';
import { session } from '../../state/session.ts';

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

export function asCurl(body: GenerateBody): string {
  const key = session.get().key === null ? [] : ['-H "authorization: Bearer $LORIKEET_API_KEY"'];
  return [
    `curl -N ${location.origin}/v1/generate`,
    ...key,
    "-H 'content-type: application/json'",
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(' \\\n  ');
}

export function asPython(body: GenerateBody): string {
  const { stream: _, ...whole } = body;
  const hasKey = session.get().key !== null;
  const key = hasKey ? '\n    headers={"authorization": f"Bearer {os.environ[\'LORIKEET_API_KEY\']}"},' : '';
  return `${hasKey ? 'import os\n\n' : ''}import requests

answer = requests.post(
    "${location.origin}/v1/generate",${key}
    json=${inPython(whole, '    ')},
)
answer.raise_for_status()
print(answer.json()["text"])
`;
}

function inPython(value: unknown, indent: string): string {
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (value === null) return 'None';
  const deeper = `${indent}    `;
  if (Array.isArray(value)) return `[${value.map((entry) => inPython(entry, indent)).join(', ')}]`;
  if (typeof value !== 'object') return JSON.stringify(value);
  const entries = Object.entries(value).map(([name, entry]) => `"${name}": ${inPython(entry, deeper)}`);
  return `{\n${entries.map((entry) => `${deeper}${entry},\n`).join('')}${indent}}`;
}
