// What every view is given.

import type { Route } from '../state/route.ts';

export type ViewProps = { readonly route: Route };
