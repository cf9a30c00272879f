// A component whose module is loaded when it is first shown.

import { type ComponentType, h } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Loading } from './notes.ts';

export function lazy<P extends object>(what: string, load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let loaded: ComponentType<P> | null = null;
  return function Lazy(props: P) {
    const [, setRound] = useState(0);
    useEffect(() => {
      if (loaded !== null) return;
      void load().then((part) => {
        loaded = part;
        setRound((round) => round + 1);
      });
    }, []);
    return loaded === null ? h(Loading, { what, rows: 3 }) : h(loaded, props);
  };
}
