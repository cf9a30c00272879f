// Training files and batch files in a table and a folder. A file exists when its row does: the bytes are flushed and
// placed first, the row is inserted last, and a start removes bytes without a row.

import { setImmediate as nextTurn } from 'node:timers/promises';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { sharedPlaces } from '../core/shared-places.ts';
import { acrossServers, contentKey, type Database, isPostgres, lockKey } from '../storage/database.ts';
import type { StagedFile } from '../storage/file-folder.ts';
import { type FileTable, fileTable, type NewFileRow } from '../storage/file-table.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import type { FileRow } from '../storage/tables.ts';
import { liveBatchStates } from './batches/batches.ts';
import { type CheckedRows, RowCheck } from './check-rows.ts';
import type { JobOptions } from './options.ts';
import type { JobParts } from './parts.ts';
import type { FilePurpose, StagedTrainingFile, TrainingFile, TrainingFiles } from './training-files.ts';
import { liveStates } from './training-jobs.ts';

export function trainingFiles(parts: JobParts): TrainingFiles {
  const { files, folder, jobs, batches, exclusive, options } = parts;
  const begin = sharedPlaces(limits.uploads, () => new LorikeetError('too_many_uploads'));

  const find = async (tenant: string, id: string): Promise<TrainingFile> => fileOf(await files.find(tenant, id), id);

  return {
    async stage(tenant) {
      const { count } = await files.kept(tenant);
      options.assertQuota?.({ tenant, keyPrefix: null }, 'files', { tenant: count + 1 });
      if (count >= limits.trainingFiles) {
        const message = `There are ${limits.trainingFiles} files already. Delete some.`;
        throw new LorikeetError('too_many_uploads', { message });
      }
      return stagedFile(parts, tenant, begin(tenant));
    },
    async list(tenant, { purposes, ...page }) {
      return (await files.list(tenant, purposes, page)).map((row) => fileOf(row, row.id));
    },
    find,
    pathOf: ({ digest }) => folder.pathOf(digest),
    async assertIntact({ id, digest }) {
      if (await folder.isIntact(digest)) return;
      options.log.error({ file: id, digest }, 'a training file is damaged');
      throw new LorikeetError('file_corrupt');
    },
    delete: (tenant, id) =>
      exclusive(async () => {
        const { digest } = await find(tenant, id);
        const job = await jobs.using(id, liveStates);
        const batch = await batches.using(id, liveBatchStates);
        const user = job === undefined ? batch && `batch ${batch.id}` : `job ${job.id}`;
        if (user !== undefined) {
          throw new LorikeetError('file_in_use', { message: `The ${user} still needs the file ${id}.` });
        }
        await acrossServers(options.database, contentKey(digest), async (rows) => {
          const table = fileTable(rows);
          await table.delete(id);
          if (!(await table.isUsed(digest))) await folder.remove(digest);
        });
      }),
  };
}

function stagedFile(parts: JobParts, tenant: string, end: () => void): StagedTrainingFile {
  const { folder, newId, options } = parts;
  let staged: StagedFile | null = null;
  let checked: CheckedRows | null = null;
  let lines = 0;
  async function* counted(chunks: AsyncIterable<Uint8Array>) {
    let last = newline;
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      // An upload beyond the tenant's quota is refused before all of it is on disk.
      options.assertQuota?.({ tenant, keyPrefix: null }, 'file_bytes', { tenant: bytes });
      for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) lines++;
      last = chunk.at(-1) ?? last;
      yield chunk;
    }
    if (last !== newline) lines++;
  }
  const tooLong = (): never => {
    const message = `The file is larger than the limit of ${limits.trainingFileBytes} bytes.`;
    throw new LorikeetError('body_too_large', { message, param: 'file' });
  };
  return {
    async rows(bytes, purpose) {
      const check = new RowCheck();
      const looked = purpose === 'batch' ? bytes : watched(bytes, check, purpose !== null);
      staged = await orStorageFull(() => folder.stage(counted(looked), limits.trainingFileBytes, tooLong));
      checked = check.end();
      if (purpose === 'fine-tune' && checked.problemCount > 0) throw refusal(checked);
    },
    async publish({ tenant, createdBy, filename, purpose }) {
      if (staged === null || checked === null) {
        throw new LorikeetError('missing_parameter', { message: 'The form has no part file.', param: 'file' });
      }
      if (purpose === 'fine-tune' && checked.problemCount > 0) throw refusal(checked);
      const rows = purpose === 'batch' ? lines : checked.rows;
      const about = { tenant, created_by: createdBy, filename, purpose, rows };
      const file = await publishFile(parts, staged, { ...about, id: `file-${newId()}` });
      staged = null;
      end();
      return file;
    },
    async discard() {
      if (staged !== null) await folder.discard(staged).catch(() => {});
      end();
    },
  };
}

/** Publishes a staged file. Where the id is there already, its row stays as it is. */
export function publishFile(
  { files, folder, clock, exclusive, options }: Pick<JobParts, 'files' | 'folder' | 'clock' | 'exclusive' | 'options'>,
  staged: StagedFile,
  about: Omit<NewFileRow, 'created_at' | 'bytes' | 'digest'>,
): Promise<TrainingFile> {
  return exclusive(async () => {
    const isAsked = about.purpose === 'fine-tune' || about.purpose === 'batch';
    if (isAsked) await assertFits(options, files, about, staged.bytes);
    await folder.place(staged);
    const content = { bytes: staged.bytes, digest: staged.digest };
    const row = { ...about, ...content, created_at: clock.now() };
    const insert = async (rows: Database) => {
      const table = fileTable(rows);
      // Another server may have published a file since the check above, so it is repeated where the row is inserted.
      if (isAsked && isPostgres(rows)) {
        await lockKey(rows, `files of ${about.tenant}`);
        await assertFits(options, table, about, staged.bytes).catch(async (error) => {
          if (!(await table.isUsed(staged.digest))) await folder.remove(staged.digest);
          throw error;
        });
      }
      return await table.insert(row);
    };
    const file = await acrossServers(options.database, contentKey(staged.digest), insert);
    // Once the row is there no server removes the bytes; where one has done so just before, they are put again.
    await folder.confirm(staged.digest, staged.bytes);
    return fileOf(file, about.id);
  });
}

/** Checks the quota of files. Results of jobs and batches are not checked. Throws `insufficient_quota`. */
async function assertFits(
  options: Pick<JobOptions, 'assertQuota'>,
  files: Pick<FileTable, 'kept'>,
  { tenant, created_by: keyPrefix = null }: Pick<NewFileRow, 'tenant' | 'created_by'>,
  more: number,
): Promise<void> {
  const [all, own] = [await files.kept(tenant), await files.kept(tenant, keyPrefix)];
  const keeper = { tenant, keyPrefix };
  options.assertQuota?.(keeper, 'files', { tenant: all.count + 1, key: own.count + 1 });
  options.assertQuota?.(keeper, 'file_bytes', { tenant: all.bytes + more, key: own.bytes + more });
}

/** Bytes that are checked between two turns of the event loop: the worst lines take a few milliseconds. */
const sliceBytes = 16 * 1024;
const newline = 0x0a;

/** Passes the bytes on and checks them. With `isStrict`, throws `file_invalid` as soon as `check` is hopeless. */
async function* watched(bytes: AsyncIterable<Uint8Array>, check: RowCheck, isStrict: boolean) {
  for await (const chunk of bytes) {
    for (let start = 0; start < chunk.length; start += sliceBytes) {
      if (start > 0) await nextTurn();
      check.push(chunk.subarray(start, start + sliceBytes));
      if (isStrict && check.isHopeless) throw refusal(check.end());
    }
    yield chunk;
  }
}

function refusal({ problems, problemCount }: CheckedRows): LorikeetError {
  const more = problemCount >= limits.trainingProblems ? ' The rest was not looked at.' : '';
  return new LorikeetError('file_invalid', { message: `${problems.join(' ')}${more}`, param: 'file' });
}

function fileOf(row: FileRow | undefined, id: string): TrainingFile {
  if (row === undefined) {
    throw new LorikeetError('file_not_found', { message: `The file '${id.slice(0, 200)}' does not exist.` });
  }
  const { created_at: createdAt, created_by: createdBy, purpose, seq: _, ...rest } = row;
  return { ...rest, createdAt, createdBy, purpose: purpose as FilePurpose };
}
