// Offsets, replay and unconfirmed input across connections.
import { describe, expect, it } from 'vitest';
import type { Start } from '../src/protocol';
import { MAX_HELD_INPUT, StreamPosition } from '../src/stream';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (part: { bytes: Uint8Array }) => new TextDecoder().decode(part.bytes);
const start = (change: Partial<Start> = {}): Start => ({
  sid: 's',
  mode: 'full',
  off: 0,
  end: 0,
  in: 0,
  lost: 0,
  cols: 80,
  rows: 24,
  role: 'operator',
  ...change,
});

describe('output', () => {
  it('has no place to resume from before a stream is known', () => {
    expect(new StreamPosition().resume('c')).toBeNull();
  });

  it('counts from the server’s offset', () => {
    const stream = new StreamPosition();
    stream.start(start({ off: 100, end: 100 }));
    stream.output(bytes('hello'));
    expect(stream.resume('c')).toEqual({ sid: 's', off: 105, in: 0, client: 'c' });
  });

  it('is replay exactly up to where the stream had come', () => {
    const stream = new StreamPosition();
    stream.start(start({ end: 8 }));
    expect(stream.output(bytes('old')).map((part) => part.replay)).toEqual([true]);
    const parts = stream.output(bytes('older|new'));
    expect(parts.map((part) => [text(part), part.replay])).toEqual([
      ['older', true],
      ['|new', false],
    ]);
  });

  it('is caught up once the replay is parsed, not when it has come', () => {
    const stream = new StreamPosition();
    stream.start(start({ end: 3 }));
    const [part] = stream.output(bytes('old'));
    expect(stream.caughtUp).toBe(false);
    stream.outputParsed(part!);
    expect(stream.caughtUp).toBe(true);
  });

  it('is acknowledged when caught up, and every 64 KiB on the way', () => {
    const stream = new StreamPosition();
    stream.start(start());
    const parts = [1, 2, 3].flatMap(() => stream.output(new Uint8Array(40 * 1024)));
    expect(parts.map((part) => stream.outputParsed(part))).toEqual([null, 80 * 1024, 120 * 1024]);
  });

  it('of an earlier taking-up does not move the new position', () => {
    const stream = new StreamPosition();
    stream.start(start());
    const [late] = stream.output(bytes('late'));
    stream.start(start({ mode: 'snapshot', off: 900, end: 900 }));
    expect(stream.outputParsed(late!)).toBeNull();
    expect(stream.offset).toBe(900);
  });
});

describe('input', () => {
  it('carries its offset, in parts where it is long', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.input(bytes('ab'));
    const parts = stream.input(new Uint8Array(70 * 1024))!;
    expect(parts.map((part) => [part.offset, part.bytes.length])).toEqual([
      [2, 32 * 1024],
      [2 + 32 * 1024, 32 * 1024],
      [2 + 64 * 1024, 6 * 1024],
    ]);
  });

  it('typed before the stream is there is sent when it comes, from the offset that the server names', () => {
    const stream = new StreamPosition();
    expect(stream.input(bytes('early'))).toEqual([]);
    const sent = stream.start(start({ in: 40 }));
    expect(sent.map((part) => [part.offset, text(part)])).toEqual([[40, 'early']]);
  });

  it('is sent again from what the server has', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.input(bytes('abcdef'));
    stream.confirm(2);
    stream.disconnected();
    stream.input(bytes('gh'));
    expect(stream.resume('c')).toMatchObject({ in: 8 });
    const sent = stream.start(start({ mode: 'delta', in: 4 }));
    expect(sent.map((part) => [part.offset, text(part)])).toEqual([[4, 'efgh']]);
  });

  it('is not sent twice when a laggard is moved to a snapshot in mid-stream', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.input(bytes('abc'));
    expect(stream.start(start({ mode: 'snapshot', in: 1 }))).toEqual([]);
  });

  it('meant for one program never reaches another', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.input(bytes('rm -rf'));
    stream.disconnected();
    expect(stream.start(start({ sid: 'other', in: 0 }))).toEqual([]);
    expect(stream.input(bytes('x'))!.map((part) => part.offset)).toEqual([0]);
  });

  it('is refused above a bound while nobody takes it', () => {
    const stream = new StreamPosition();
    expect(stream.input(new Uint8Array(MAX_HELD_INPUT))).toEqual([]);
    expect(stream.input(bytes('x'))).toBeNull();
  });

  it('confirmed beyond what was sent does no harm', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.input(bytes('ab'));
    stream.confirm(100);
    expect(stream.input(bytes('c'))!.map((part) => part.offset)).toEqual([100]);
  });
});

describe('another program', () => {
  it('does not get what was typed for the one before, which is said', () => {
    const stream = new StreamPosition();
    stream.start(start());
    stream.disconnected();
    stream.input(bytes('rm'));
    expect(stream.drops(start())).toBe(false);
    expect(stream.drops(start({ sid: 'other' }))).toBe(true);
    expect(stream.start(start({ sid: 'other' }))).toEqual([]);
    expect(stream.drops(start({ sid: 'third' }))).toBe(false);
  });
});
