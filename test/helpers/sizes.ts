// Sizes of tests that find rare errors: small in the CI, and large on request.

const isLong = process.env.LORIKEET_TEST_LONG === 'on';

/** The first number, or the second with LORIKEET_TEST_LONG=on. */
export const sized = (short: number, long: number): number => (isLong ? long : short);

/** Time limit of one test, in place of the runner's. */
export const sizedTimeoutMs = sized(600_000, 3_600_000);
