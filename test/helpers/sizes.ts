// Some tests do little where CI runs them, and by hand as much as it takes to meet what is rare.

const isLong = process.env.LORIKEET_TEST_LONG === 'on';

/** How often something is done: LORIKEET_TEST_LONG=on asks for the second. */
export const sized = (short: number, long: number): number => (isLong ? long : short);

/** Of one test, in the place of the runner's. */
export const sizedTimeoutMs = sized(600_000, 3_600_000);
