// Makes the README's picture of the one that the tests took: `npm test`, then `npm run picture`.

import { copyFile, mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
await mkdir(at('../../../docs/'), { recursive: true });
await copyFile(at('../shots/desk-finished.png'), at('../../../docs/terminal.png'));
