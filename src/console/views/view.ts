// The properties of every view.

import type { Route } from '../state/route.ts';

export type ViewProps = { readonly route: Route };
