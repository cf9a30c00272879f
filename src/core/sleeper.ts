// Sleeps until it is woken or the time is over; 0 does not sleep, null has no limit. A wake before a sleep ends that
// sleep at once.

import type { Timers } from './clock.ts';

export type Sleeper = { sleep(ms: number | null): Promise<void>; wake(): void };

export function sleeper(timers: Timers): Sleeper {
  let isWoken = false;
  let resume = () => {};
  return {
    async sleep(ms) {
      if (!isWoken && ms !== 0) {
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
