// `checkpoints/<step>/`: a PEFT folder, the optimiser's moments and the progress, which is all that the rest of a job
// depends on. A checkpoint of which any byte differs from what was written counts as absent.
//
//   adapter_config.json  adapter_model.safetensors   what PEFT loads
//   moments.safetensors                              first and second, laid out as the parameters
//   state.json                                       the job's fingerprint, progress, digests of the others and its own

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSafetensorsHeader } from '../formats/safetensors.ts';
import { writeSafetensors } from '../formats/write-safetensors.ts';
import type { Moments } from './adam-w.ts';
import type { Progress } from './progress.ts';
import { type FolderFiles, removeUnfinished, type WriteFile, writeFolder } from './write-folder.ts';

/** The two files of the adapter, as bytes. */
export type AdapterBytes = { readonly config: Uint8Array; readonly weights: Uint8Array };

export type Checkpoint = {
  readonly adapter: AdapterBytes;
  readonly moments: Moments;
  readonly progress: Progress;
  /** Number of threads that computed it: another number would sum in another order. */
  readonly threads: number;
};

export type CheckpointStore = {
  folderOf(step: number): string;
  /** Saves a checkpoint, then deletes older ones except the last few and the best. */
  save(checkpoint: Checkpoint): Promise<void>;
  /** The intact checkpoint of the highest step; null where there is none. */
  latest(): Promise<Checkpoint | null>;
  /** null where the checkpoint is not intact. */
  load(step: number): Promise<Checkpoint | null>;
};

/** Latest checkpoints that are kept: the second is there in case the last one is damaged. */
const keptBesideBest = 2;

const version = 1;

/** @param fingerprint of all that the job depends on; checkpoints of another are not resumed from */
export async function openCheckpoints(
  folder: string,
  fingerprint: string,
  write?: WriteFile,
): Promise<CheckpointStore> {
  await makeFolder(folder);
  await removeUnfinished(folder);
  const folderOf = (step: number) => join(folder, String(step));
  const load = async (step: number) => decode(await readFiles(folderOf(step)), fingerprint);
  return {
    folderOf,
    load,
    async save(checkpoint) {
      const { step, best } = checkpoint.progress;
      await writeFolder(folderOf(step), encode(checkpoint, fingerprint), write);
      const recent = (await stepsIn(folder)).filter((other) => other <= step).slice(0, keptBesideBest);
      for (const other of await stepsIn(folder)) {
        if (recent.includes(other) || other === best?.step) continue;
        await rm(folderOf(other), { recursive: true, force: true });
      }
    },
    async latest() {
      for (const step of await stepsIn(folder)) {
        const checkpoint = await load(step);
        if (checkpoint !== null) return checkpoint;
      }
      return null;
    },
  };
}

/** Makes a folder, unless it exists, in a parent that does. */
async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/** Steps with a folder, the highest first. */
async function stepsIn(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => b - a);
}

type State = {
  readonly version: number;
  readonly fingerprint: string;
  readonly threads: number;
  readonly progress: Progress;
  readonly files: Readonly<Record<string, string>>;
};

const names = ['adapter_config.json', 'adapter_model.safetensors', 'moments.safetensors'] as const;

function encode({ adapter, moments, progress, threads }: Checkpoint, fingerprint: string): FolderFiles {
  const contents = [adapter.config, adapter.weights, encodeMoments(moments)];
  const files = Object.fromEntries(names.map((name, index) => [name, sha256(contents[index]!)]));
  const state = JSON.stringify({ version, fingerprint, threads, progress, files } satisfies State);
  return {
    ...Object.fromEntries(names.map((name, index) => [name, contents[index]!])),
    'state.json': new TextEncoder().encode(`${sha256(state)}\n${state}`),
  };
}

async function readFiles(folder: string): Promise<readonly Buffer[] | null> {
  try {
    return await Promise.all([...names, 'state.json'].map((name) => readFile(join(folder, name))));
  } catch {
    return null;
  }
}

function decode(contents: readonly Buffer[] | null, fingerprint: string): Checkpoint | null {
  if (contents === null) return null;
  const [digest, text] = contents.at(-1)!.toString().split('\n');
  if (text === undefined || sha256(text) !== digest) return null;
  const state = JSON.parse(text) as State;
  const isWhole = names.every((name, index) => state.files[name] === sha256(contents[index]!));
  if (!isWhole || state.version !== version || state.fingerprint !== fingerprint) return null;
  const [config, weights, moments] = contents as [Buffer, Buffer, Buffer];
  const { progress, threads } = state;
  return { adapter: { config, weights }, moments: decodeMoments(moments), progress, threads };
}

function encodeMoments(moments: Moments): Uint8Array {
  const tensors = (['first', 'second'] as const).map((name) => {
    const { buffer, byteOffset, byteLength, length } = moments[name];
    return { name, type: 'F32' as const, shape: [length], bytes: new Uint8Array(buffer, byteOffset, byteLength) };
  });
  return writeSafetensors(tensors);
}

function decodeMoments(file: Uint8Array): Moments {
  const { tensors } = parseSafetensorsHeader(file, file.length)!;
  const read = (name: string) => {
    const { offset, bytes } = tensors.find((tensor) => tensor.name === name)!;
    // Copied, so that the floats are aligned.
    return new Float32Array(new Uint8Array(file.subarray(offset, offset + bytes)).buffer);
  };
  return { first: read('first'), second: read('second') };
}

const sha256 = (content: Uint8Array | string) => createHash('sha256').update(content).digest('hex');
