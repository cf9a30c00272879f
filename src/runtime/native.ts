// koffi, configured once for the whole process: it takes no settings after the first library is loaded.

import koffi from 'koffi';

// A usual thread's stack. koffi's own for calls on other threads is 128 KiB, which a shader compiler overruns.
koffi.config({ async_stack_size: 8 * 2 ** 20 });

export { koffi };
