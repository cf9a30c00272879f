// S3, and services with its protocol, as a store of objects. The client is loaded only where a URL asks for it. It
// finds credentials and region as all of Amazon's tools do: in variables, profiles, or a pod's role.

import { open } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { LorikeetError } from '../../core/errors.ts';
import type { AgedObject, ObjectStore } from '../object-store.ts';

/** Tries of one request, and the first pause between two, in milliseconds. */
const triesMax = 3;
const retryMs = 250;
const connectMsMax = 5000;
/** Milliseconds without a byte in either direction. */
const silenceMsMax = 20_000;

export type S3Location = {
  readonly bucket: string;
  /** Without slashes at its ends; may be empty. */
  readonly prefix: string;
  /** URL of another service than Amazon's, whose buckets are paths and not hosts; null: Amazon. */
  readonly endpoint: string | null;
  readonly region: string | null;
};

/** Parses `s3://bucket/prefix?endpoint=http://host:port&region=name`. Throws `invalid_config`. */
export function parseS3Url(url: string): S3Location {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  const others = [...(parsed?.searchParams.keys() ?? [])].filter((key) => !['endpoint', 'region'].includes(key));
  if (parsed === null || parsed.protocol !== 's3:' || parsed.host === '' || others.length > 0) {
    const message = 'LORIKEET_BLOB_URL must be s3://bucket/prefix, with ?endpoint=... and &region=... where needed.';
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_BLOB_URL' });
  }
  return {
    bucket: parsed.host,
    prefix: parsed.pathname.replace(/^\/+|\/+$/g, ''),
    endpoint: parsed.searchParams.get('endpoint'),
    region: parsed.searchParams.get('region'),
  };
}

/** Throws `invalid_config` where the bucket is missing or access is denied, and `storage_unavailable`. */
export async function openS3(url: string): Promise<ObjectStore> {
  const location = parseS3Url(url);
  const { bucket, prefix, endpoint, region } = location;
  const s3 = await import('@aws-sdk/client-s3');
  const quiet = () => {};
  const client = new s3.S3Client({
    logger: { trace: quiet, debug: quiet, info: quiet, warn: quiet, error: quiet },
    ...(endpoint === null ? {} : { endpoint, forcePathStyle: true }),
    ...(region === null ? {} : { region }),
    maxAttempts: 1,
    requestHandler: { connectionTimeout: connectMsMax, socketTimeout: silenceMsMax },
    // Contents have a digest of their own, which their readers check.
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  const keyOf = (name: string) => (prefix === '' ? name : `${prefix}/${name}`);
  const at = (name: string) => ({ Bucket: bucket, Key: keyOf(name) });
  const page = (start: string, after: string | null, limit: number): Promise<AgedObject[]> =>
    persistently(async () => {
      const asked = { Bucket: bucket, Prefix: keyOf(start), MaxKeys: limit };
      const from = after === null ? {} : { StartAfter: keyOf(after) };
      const { Contents = [] } = await client.send(new s3.ListObjectsV2Command({ ...asked, ...from }));
      return Contents.map(({ Key = '', LastModified }) => ({
        key: prefix === '' ? Key : Key.slice(prefix.length + 1),
        putAt: LastModified?.getTime() ?? Number.POSITIVE_INFINITY,
      }));
    });
  const store: ObjectStore = {
    name: `s3://${bucket}${prefix === '' ? '' : `/${prefix}`} ${endpoint ?? 'at Amazon'}`,
    async put(name, file, { replaces } = { replaces: false }) {
      await persistently(async () => {
        // Asks first: a store that refuses after the first byte may cut the connection before its answer is read.
        if (!replaces && (await orMissing(client.send(new s3.HeadObjectCommand(at(name))))) !== null) return;
        // Opens the file before the request: a missing file is then an error of this call, not of an unread stream.
        await using opened = await open(file.path);
        const Body = opened.createReadStream({ autoClose: false });
        const ChecksumSHA256 = Buffer.from(file.sha256, 'hex').toString('base64');
        const request = { ...at(name), Body, ContentLength: file.bytes, ChecksumSHA256 };
        await client
          .send(new s3.PutObjectCommand({ ...request, ...(replaces ? {} : { IfNoneMatch: '*' }) }))
          .catch((error) => {
            if (statusOf(error) !== 412) throw error;
          })
          .finally(() => Body.destroy());
      });
    },
    get: (name) =>
      persistently(async () => {
        const found = await orMissing(client.send(new s3.GetObjectCommand(at(name))));
        return found === null ? null : bodyOf(found.Body as unknown as AsyncIterable<Uint8Array>);
      }),
    bytes: (name) =>
      persistently(async () => {
        const found = await orMissing(client.send(new s3.HeadObjectCommand(at(name))));
        return found === null ? null : (found.ContentLength ?? 0);
      }),
    async remove(name) {
      await persistently(() => client.send(new s3.DeleteObjectCommand(at(name))));
    },
    list: async (start, after, limit) => (await page(start, after, limit)).map(({ key }) => key),
    listAged: (start, after, limit) => page(start, after, limit),
    close: () => client.destroy(),
  };
  try {
    await persistently(() => client.send(new s3.HeadBucketCommand({ Bucket: bucket })));
    return store;
  } catch (error) {
    client.destroy();
    throw explained(error, location);
  }
}

/** Passes the body on; an error on the way becomes `storage_unavailable`, since the content is not at fault. */
async function* bodyOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw new LorikeetError('storage_unavailable', { message: 'The store broke off.', cause: error });
  }
}

async function orMissing<T>(found: Promise<T>): Promise<T | null> {
  return await found.catch((error) => {
    if (statusOf(error) === 404) return null;
    throw error;
  });
}

/** Tries again after errors of the store or of the network; each try starts from the beginning. */
async function persistently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (isLocal(error)) throw error;
      const status = statusOf(error);
      const isLost = status === undefined || status >= 500 || status === 429 || status === 409;
      if (isLost && tries < triesMax) await setTimeout(retryMs * 2 ** (tries - 1));
      else throw storeError(error);
    }
  }
}

const statusOf = (error: unknown) =>
  (error as { $metadata?: { httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode;

/** Whether the error is about a file of this machine. */
const isLocal = (error: unknown) => typeof (error as { path?: unknown }).path === 'string';

function storeError(error: unknown): LorikeetError {
  const { name, message } = error as Error;
  const status = statusOf(error);
  const said = status === undefined ? message : `${status} ${name}`;
  return new LorikeetError('storage_unavailable', { message: `The store of adapters: ${said}.`, cause: error });
}

function explained(error: unknown, { bucket, endpoint }: S3Location): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  const status = statusOf(cause);
  const isCredentials = (cause as Error | undefined)?.name === 'CredentialsProviderError';
  if (!isCredentials && (status === undefined || ![301, 400, 403, 404].includes(status))) return error;
  const where = endpoint === null ? '' : ` at ${endpoint}`;
  const message = `The bucket ${bucket}${where} cannot be used: ${(error as Error).message}`;
  return new LorikeetError('invalid_config', { message, param: 'LORIKEET_BLOB_URL', cause: error });
}
