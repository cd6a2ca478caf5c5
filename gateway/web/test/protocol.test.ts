// The frames, to the byte: what ttyd speaks and what tty.r1 adds.
import { describe, expect, it } from 'vitest';
import { decodeServerFrame, encodeAck, encodeHello, encodeInput, encodeInputAt, encodeResize, encodeTake } from '../src/protocol';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (frame: Uint8Array) => new TextDecoder().decode(frame);
const decode = (message: string | Uint8Array) => {
  const frame = typeof message === 'string' ? bytes(message) : message;
  return decodeServerFrame(new Uint8Array(frame).buffer);
};
const withOffset = (kind: string, offset: number[], rest = '') => Uint8Array.from([kind.charCodeAt(0), ...offset, ...bytes(rest)]);

describe('what the page sends', () => {
  it('greets a server as ttyd’s client does', () => {
    expect(text(encodeHello({ cols: 120, rows: 40 }, null))).toBe('{"AuthToken":"","columns":120,"rows":40}');
  });

  it('names its place in a stream that it still holds', () => {
    const hello = JSON.parse(text(encodeHello({ cols: 80, rows: 24 }, { sid: 's', off: 9, in: 3, client: 'c' })));
    expect(hello.resume).toEqual({ sid: 's', off: 9, in: 3, client: 'c' });
  });

  it('leaves the size out where it follows another’s', () => {
    expect(text(encodeHello(null, null))).toBe('{"AuthToken":""}');
  });

  it('puts a type byte before stock input and a big-endian offset before ours', () => {
    expect(text(encodeInput(bytes('ls\r')))).toBe('0ls\r');
    expect(encodeInputAt(0x1_0000_0002, bytes('é'))).toEqual(Uint8Array.from([0x49, 0, 0, 0, 1, 0, 0, 0, 2, 0xc3, 0xa9]));
    expect(encodeAck(258)).toEqual(withOffset('A', [0, 0, 0, 0, 0, 0, 1, 2]));
  });

  it('sends a resize as ttyd’s client does', () => {
    expect(text(encodeResize({ cols: 100, rows: 30 }))).toBe('1{"columns":100,"rows":30}');
  });

  it('takes the keyboard over, with or without sending its holder away', () => {
    expect(text(encodeTake(false))).toBe('L{"leave":false}');
    expect(text(encodeTake(true))).toBe('L{"leave":true}');
  });
});

describe('what the page reads', () => {
  it('reads output, snapshots and titles', () => {
    expect(decode('0hi')).toEqual({ type: 'output', bytes: bytes('hi') });
    expect(decode('Vscreen')).toEqual({ type: 'snapshot', bytes: bytes('screen') });
    expect(decode('1vim – é')).toEqual({ type: 'title', title: 'vim – é' });
    expect(decode('2{}')).toEqual({ type: 'preferences' });
  });

  it('reads each JSON frame', () => {
    expect(decode('W{"state":"starting","stage":"fetching","text":"t"}')).toMatchObject({ type: 'waiting', stage: 'fetching', text: 't' });
    expect(decode('T{"ticket":"t","pageToken":"p"}')).toEqual({ type: 'tickets', ticket: 't', pageToken: 'p' });
    expect(decode('Z{"cols":1,"rows":2}')).toEqual({ type: 'resized', size: { cols: 1, rows: 2 } });
    expect(decode('X{"code":null,"signal":"SIGKILL","reason":"oom_killed","end":7,"message":null}')).toMatchObject({
      type: 'exit',
      exit: { code: null, signal: 'SIGKILL', reason: 'oom_killed' },
    });
    const presence = { operators: 2, viewers: 3, holds: false, held: true };
    expect(decode(`P${JSON.stringify(presence)}`)).toEqual({ type: 'presence', presence });
    const start = { sid: 's', mode: 'full', off: 0, end: 5, in: 0, lost: 0, cols: 80, rows: 24, role: 'viewer' };
    expect(decode(`S${JSON.stringify(start)}`)).toEqual({ type: 'start', start });
  });

  it('reads an offset of 64 bits', () => {
    expect(decode(withOffset('K', [0, 0, 0, 1, 0, 0, 0, 5]))).toEqual({ type: 'inputAck', offset: 2 ** 32 + 5 });
  });

  it('passes over what it does not know or cannot read', () => {
    for (const message of ['', 'q', 'S{', 'K1234', 'P', '\u0000']) expect(decode(message)).toBeNull();
  });
});
