// @vitest-environment happy-dom
// What begins a picture, and what a stream waits for because of it.
import { Terminal } from '@xterm/xterm';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Pictures, mayBeginPicture } from '../src/pictures';

const bytes = (text: string) => new TextEncoder().encode(text);

afterEach(() => {
  vi.useRealTimers();
});

describe('a picture', () => {
  it.each(['\x1bPq#0', '\x1bP0;1;0q', 'text \x1b[1m\x1bP7;1q', '\x1b]1337;File=inline=1:'])('begins in %j', (text) => {
    expect(mayBeginPicture(bytes(text))).toBe(true);
  });

  it.each(['\x1b', 'text \x1bP', '\x1bP0;1', '\x1b]13', '\x1b]1337'])('may begin in %j, which is cut off', (text) => {
    expect(mayBeginPicture(bytes(text))).toBe(true);
  });

  it.each(['', 'q 1337;', '\x1b[0q ', '\x1bP$qm\x1b\\', '\x1bP+q544e\x1b\\', '\x1b]133;A\x07', '\x1b]0;title\x07', '\x1b]'.padEnd(9, 'x')])(
    'does not begin in %j',
    (text) => expect(mayBeginPicture(bytes(text))).toBe(false),
  );
});

describe('a stream with pictures', () => {
  const picture = bytes('\x1bPq');

  it('waits once, for the first', async () => {
    let loaded = () => {};
    const load = vi.fn(() => new Promise<void>((done) => (loaded = done)));
    const pictures = new Pictures(new Terminal({ allowProposedApi: true }), load);
    expect(pictures.awaited(bytes('text'))).toBeNull();
    const awaited = pictures.awaited(picture);
    loaded();
    await awaited;
    expect(pictures.awaited(picture)).toBeNull();
    expect(load).toHaveBeenCalledOnce();
  });

  it('goes on without them where they cannot be loaded, or not in time', async () => {
    const failing = new Pictures(new Terminal({ allowProposedApi: true }), () => Promise.reject(new Error('offline')));
    await failing.awaited(picture);
    expect(failing.awaited(picture)).toBeNull();
    vi.useFakeTimers();
    const hanging = new Pictures(new Terminal({ allowProposedApi: true }), () => new Promise(() => {}));
    const awaited = hanging.awaited(picture);
    await vi.advanceTimersByTimeAsync(5_000);
    await awaited;
    expect(hanging.awaited(picture)).toBeNull();
  });

  it('is promised to a program that asks, as an answer and not as typed text', async () => {
    const term = new Terminal({ allowProposedApi: true });
    new Pictures(term);
    const answers: string[] = [];
    term.onData((text) => answers.push(text));
    await new Promise<void>((done) => term.write('\x1b[c\x1b[5c', done));
    expect(answers).toEqual(['\x1b[?62;4;9;22c']);
  });
});
