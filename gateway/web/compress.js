// Puts a smaller copy of each built file beside it, as brotli and as gzip: the gateway compresses nothing itself. Browsers
// take brotli over https only.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const DIST = new URL('dist/', import.meta.url).pathname;
/** What is compressed already, or too small for it to matter, stays as it is. */
const WORTH = /\.(js|css|svg|wasm)$/;
const SMALL = 1024;

for (const name of readdirSync(DIST, { recursive: true })) {
  if (!WORTH.test(name)) continue;
  const bytes = readFileSync(join(DIST, name));
  if (bytes.length < SMALL) continue;
  writeFileSync(join(DIST, `${name}.br`), brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }));
  writeFileSync(join(DIST, `${name}.gz`), gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION }));
}
