// Starts the console, a page over the HTTP interface that every client uses.

import { h, render } from 'preact';
import { App } from './app.ts';
import { applyTheme } from './state/theme.ts';

applyTheme();
render(h(App, null), document.getElementById('app')!);
