// Long messages in pieces: xterm.js gives the page its turn between what it is given, and not within it.

import type { Terminal } from '@xterm/xterm';

/** With twice as much a flood's frames are later (`bench/page-flood.mjs`). */
export const PIECE = 32 * 1024;

/** `parsed`: once, when all of it is. */
export function writeInPieces(term: Pick<Terminal, 'write'>, bytes: Uint8Array | string, parsed: () => void): void {
  if (typeof bytes === 'string') return term.write(bytes, parsed);
  let at = 0;
  for (; bytes.length - at > PIECE; at += PIECE) term.write(bytes.subarray(at, at + PIECE));
  term.write(bytes.subarray(at), parsed);
}
