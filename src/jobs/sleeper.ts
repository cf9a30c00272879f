// Sleeps until it is woken, or a while is over. A call to wake that comes before the sleep is not lost.

import type { Timers } from '../core/clock.ts';

export type Sleeper = { sleep(ms: number | null): Promise<void>; wake(): void };

export function sleeper(timers: Timers): Sleeper {
  let isWoken = false;
  let resume = () => {};
  return {
    async sleep(ms) {
      if (!isWoken) {
        await new Promise<void>((resolve) => {
          const cancel = ms === null ? () => {} : timers.after(ms, resolve);
          resume = () => {
            cancel();
            resolve();
          };
        });
      }
      isWoken = false;
    },
    wake() {
      isWoken = true;
      resume();
    },
  };
}
