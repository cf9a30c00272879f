// A new, empty prefix in the S3 server that test:servers has started.

import { randomUUID } from 'node:crypto';

const url = process.env.LORIKEET_TEST_S3 ?? null;

/** Why tests that need S3 are skipped; false: they run. */
export const withoutS3 = url === null ? 'needs versitygw: npm run test:servers' : false;

export function newBucketUrl(): string {
  const place = new URL(url!);
  place.pathname = `/${randomUUID()}`;
  return place.href;
}
