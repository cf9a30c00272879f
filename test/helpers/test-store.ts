// A new, empty place in the S3 server that test:servers has started.

import { randomUUID } from 'node:crypto';

const url = process.env.LORIKEET_TEST_S3 ?? null;

/** For tests that need it: says why they are left out. */
export const withoutS3 = url === null ? 'needs versitygw: npm run test:servers' : false;

export function newBucketUrl(): string {
  const place = new URL(url!);
  place.pathname = `/${randomUUID()}`;
  return place.href;
}
