// Arguments of Node for every process of the server; scripts/launch.js gives them to the first.

/**
 * The young generation of the heap grows to 48 MiB instead of Node's 192: a server's objects live for a request, and
 * memory is wanted for adapters.
 */
export const nodeArguments: readonly string[] = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16'];
