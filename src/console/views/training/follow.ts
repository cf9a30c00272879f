// Follows a job's events: points of its curves, and messages.

import { useEffect, useState } from 'preact/hooks';
import { open, part } from '../../api/client.ts';
import { eventsOf } from '../../api/events.ts';
import type { JobEvent } from '../../api/types.ts';
import { jobsUrl } from './jobs.ts';

export type Point = Readonly<Record<string, number>> & { readonly step: number };

export type Told = {
  readonly points: readonly Point[];
  readonly sentences: readonly JobEvent[];
  readonly isOver: boolean;
};

const nothing: Told = { points: [], sentences: [], isOver: false };
/** Time between a broken stream and the next try, in milliseconds. */
const againMs = 2000;
/** Shortest time between two updates: the events of a long job arrive at once, and are drawn together. */
const drawMs = 120;

export function useTold(id: string): Told {
  const [told, setTold] = useState<Told>(nothing);
  useEffect(() => {
    const stop = new AbortController();
    setTold(nothing);
    void follow(id, stop.signal, setTold);
    return () => stop.abort();
  }, [id]);
  return told;
}

async function follow(id: string, signal: AbortSignal, onTold: (told: Told) => void): Promise<void> {
  while (!signal.aborted) {
    const [points, sentences]: [Point[], JobEvent[]] = [[], []];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = (isOver: boolean) => {
      clearTimeout(timer);
      timer = undefined;
      onTold({ points: [...points], sentences: [...sentences], isOver });
    };
    try {
      const answer = await open(`${jobsUrl}/${part(id)}/events?stream=true`, { signal });
      for await (const event of eventsOf<JobEvent>(answer)) {
        if (event.data === null) sentences.push(event);
        else addPoint(points, event.data as Point);
        timer ??= setTimeout(() => tell(false), drawMs);
      }
      return tell(true);
    } catch {
      clearTimeout(timer);
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, againMs));
    }
  }
}

/** Adds a point. Steps that a job repeats after a pause replace the earlier points. */
export function addPoint(points: Point[], point: Point): void {
  while (points.length > 0 && points.at(-1)!.step >= point.step) points.pop();
  points.push(point);
}

export const lineOf = (points: readonly Point[], name: string): (number | null)[] =>
  points.map((point) => point[name] ?? null);
