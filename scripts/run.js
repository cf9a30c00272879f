// Runs one TypeScript file of this project: node scripts/run.js bench/http.ts [arguments]

import { root } from './install.js';
import { launch } from './launch.js';

await launch(process.argv.slice(2), { dev: true, cwd: root });
