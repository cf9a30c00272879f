// Loads a base model's tokeniser from its files. The caller reads GGUF metadata.

import { readFile, stat } from 'node:fs/promises';
import type { ModelFiles } from '../core/base-model.ts';
import { limits } from '../core/limits.ts';
import { tokenizerFromGguf } from './from-gguf.ts';
import { tokenizerFromJson } from './from-json.ts';
import type { GgufMetadata } from './gguf-metadata.ts';
import { invalid, unsupported } from './refuse.ts';
import type { Tokenizer } from './tokenizer.ts';

export async function loadTokenizer(
  files: ModelFiles,
  readGgufMetadata: (path: string) => GgufMetadata,
): Promise<Tokenizer> {
  if (files.kind === 'gguf') return tokenizerFromGguf(readGgufMetadata(files.weights[0]!));

  const text = async (name: string, bytesMax: number) => {
    const path = files.sidecars[name];
    return path === undefined ? undefined : readBounded(path, name, bytesMax);
  };
  const json = async (name: string, bytesMax: number = limits.configBytes) => parse(await text(name, bytesMax), name);

  const tokenizerJson = await json('tokenizer.json', limits.tokenizerBytes);
  if (tokenizerJson === undefined) throw unsupported('no tokenizer.json');
  const chatTemplate = await text('chat_template.jinja', limits.configBytes);
  return tokenizerFromJson({
    tokenizerJson,
    tokenizerConfig: await json('tokenizer_config.json'),
    generationConfig: await json('generation_config.json'),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  });
}

async function readBounded(path: string, name: string, bytesMax: number): Promise<string> {
  const { size } = await stat(path);
  if (size > bytesMax) throw invalid(`${name} has ${size} bytes; at most ${bytesMax} are read.`);
  return readFile(path, 'utf8');
}

function parse(text: string | undefined, name: string): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(`${name} is not JSON.`);
  }
}
