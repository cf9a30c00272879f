// A value that a view reads from the server: the value, the error of the last reading, and whether it is being read.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../api/client.ts';

export type Resource<T> = {
  /** The last value that was read; it stays while it is read again. */
  readonly value: T | null;
  readonly error: ApiError | null;
  readonly isLoading: boolean;
  reload(): void;
};

type State<T> = Omit<Resource<T>, 'reload'>;
type Read<T> = (signal: AbortSignal, onPart: (value: T) => void) => Promise<T>;

/**
 * Reads a resource.
 * @param key reads again when it changes; null reads nothing
 * @param everyMs reads again after this time, while the page is visible
 */
export function useResource<T>(key: string | null, read: Read<T>, everyMs?: number): Resource<T> {
  const [state, setState] = useState<State<T> & { key: string | null }>({ ...none, key });
  const [round, setRound] = useState(0);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  const latest = useRef(read);
  latest.current = read;

  // `round` changes with every reload.
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    setState((before) => ({ ...(before.key === key ? before : none), key, isLoading: true }));
    const onPart = (value: T) => {
      if (!stop.signal.aborted) setState({ key, value, error: null, isLoading: true });
    };
    latest.current(stop.signal, onPart).then(
      (value) => !stop.signal.aborted && setState({ key, value, error: null, isLoading: false }),
      (cause: unknown) => {
        if (stop.signal.aborted) return;
        const error = asApiError(cause);
        setState((before) => ({ ...before, key, error, isLoading: false }));
      },
    );
    return () => stop.abort();
  }, [key, round]);

  useEffect(() => {
    if (everyMs === undefined || key === null) return;
    const timer = setInterval(() => document.hidden || reload(), everyMs);
    return () => clearInterval(timer);
  }, [key, everyMs, reload]);

  const current = state.key === key ? state : { ...none, isLoading: key !== null };
  return { value: current.value, error: current.error, isLoading: current.isLoading, reload };
}

const none = { value: null, error: null, isLoading: true };

export const asApiError = (cause: unknown): ApiError =>
  cause instanceof ApiError ? cause : new ApiError(0, 'unknown', cause instanceof Error ? cause.message : `${cause}`);
