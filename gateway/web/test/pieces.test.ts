// How long messages are given to the terminal.
import { describe, expect, it, vi } from 'vitest';
import { PIECE, writeInPieces } from '../src/pieces';

/** What is written for a message: how long each piece is, and whether its parsing is told of. */
function written(message: Uint8Array | string): { pieces: [number, boolean][]; bytes: number[] } {
  const pieces: [number, boolean][] = [];
  const bytes: number[] = [];
  const parsed = vi.fn();
  const write = (data: Uint8Array | string, callback?: () => void): void => {
    pieces.push([data.length, callback === parsed]);
    if (typeof data !== 'string') bytes.push(...data);
  };
  writeInPieces({ write }, message, parsed);
  return { pieces, bytes };
}

describe('a message', () => {
  it('that is long is written in pieces, of which the last one counts', () => {
    const message = Uint8Array.from({ length: 2 * PIECE + 5 }, (_, at) => at % 251);
    const { pieces, bytes } = written(message);
    expect(pieces).toEqual([[PIECE, false], [PIECE, false], [5, true]]);
    expect(bytes).toEqual([...message]);
  });

  it.each([0, 1, PIECE])('of %i bytes is written at once', (length) => {
    expect(written(new Uint8Array(length)).pieces).toEqual([[length, true]]);
  });

  it('that is text is written as it is', () => {
    expect(written('\x18').pieces).toEqual([[1, true]]);
  });
});
