// Node's arguments for every process of the server. scripts/launch.js gives them to the first process.

/**
 * The young generation of the heap may grow to 48 MiB instead of Node's 192: a server's objects live as long as a
 * request, and the memory is better used for adapters.
 */
export const nodeArguments: readonly string[] = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16'];
