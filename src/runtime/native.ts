// koffi, set up once for all of the process: it takes no settings any more once a library is loaded.

import koffi from 'koffi';

// A thread's usual stack. koffi's own for a call on another thread is 128 KiB, which a compiler of shaders overruns.
koffi.config({ async_stack_size: 8 * 2 ** 20 });

export { koffi };
