// The state of something that a button does: it runs once at a time, and its error is shown beside the button.

import { useRef, useState } from 'preact/hooks';
import type { ApiError } from '../api/client.ts';
import { asApiError } from './resource.ts';

export type Action = {
  readonly isRunning: boolean;
  readonly error: ApiError | null;
  run(work: () => Promise<void>): void;
  clear(): void;
};

export function useAction(): Action {
  const [state, setState] = useState<{ isRunning: boolean; error: ApiError | null }>(idle);
  const running = useRef(false);
  return {
    ...state,
    run(work) {
      if (running.current) return;
      running.current = true;
      setState({ isRunning: true, error: null });
      work()
        .then(
          () => setState(idle),
          (cause: unknown) => setState({ isRunning: false, error: asApiError(cause) }),
        )
        .finally(() => {
          running.current = false;
        });
    },
    clear: () => setState(idle),
  };
}

const idle = { isRunning: false, error: null };
