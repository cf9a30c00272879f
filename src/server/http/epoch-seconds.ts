// Times of HTTP answers, which are whole seconds since the epoch as in OpenAI's objects.

export const epochSeconds = (ms: number): number => Math.floor(ms / 1000);

export const epochSecondsOrNull = (ms: number | null): number | null => (ms === null ? null : epochSeconds(ms));
