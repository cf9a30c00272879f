// The console begins here: one page over the same HTTP interface that every client has.

import { h, render } from 'preact';
import { App } from './app.ts';
import { applyTheme } from './state/theme.ts';

applyTheme();
render(h(App, null), document.getElementById('app')!);
