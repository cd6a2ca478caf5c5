// One session, frame by frame: what reaches the terminal, and what is sent back.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Connection } from '../src/connection';
import type { People } from '../src/people';
import { TerminalSession } from '../src/session';
import type { Status } from '../src/status';
import { TabStore } from '../src/storage';
import type { TerminalView } from '../src/terminal';

/** Parses at once, and writes down what happened in which order. */
class FakeView {
  log: string[] = [];
  answersQueries = false;
  readOnly = false;
  readonly term = { resize: (cols: number, rows: number) => void this.log.push(`size ${cols}x${rows}`) };
  proposeSize = () => ({ cols: 100, rows: 30 });
  scaled = false;
  scaleToFit = () => void (this.scaled = true);
  fillPage = () => void (this.scaled = false);

  write(bytes: Uint8Array, replay: boolean, parsed: () => void = () => {}): void {
    this.log.push(`${replay ? 'replay' : 'live'} ${new TextDecoder().decode(bytes)}`);
    parsed();
  }

  inOrder(action: () => void): void {
    action();
  }

  resetTo(size: { cols: number; rows: number }): void {
    this.log.push(`reset ${size.cols}x${size.rows}`);
  }

  focus(): void {}

  setReadOnly(readOnly: boolean): void {
    this.readOnly = readOnly;
  }

  finish(): void {
    this.readOnly = true;
  }
}

let view: FakeView;
let sent: string[];
let session: TerminalSession;
let store: TabStore;
const status = { stage: vi.fn(), role: vi.fn(), waiting: vi.fn(), hasOutput: vi.fn(), notice: vi.fn(), ended: vi.fn(), title: vi.fn(), latency: vi.fn() };
const people = { show: vi.fn(), tell: vi.fn(), gone: vi.fn() };
const page = { visible: () => true, changed: vi.fn(), lost: vi.fn(), deadline: vi.fn() };
const noteExit = vi.fn();

const bytes = (text: string) => new TextEncoder().encode(text);
const receive = (kind: string, payload: unknown) =>
  session.frame(bytes(kind + (typeof payload === 'string' ? payload : JSON.stringify(payload))).buffer);
const start = (change: object = {}) =>
  receive('S', { sid: 's', mode: 'full', off: 0, end: 0, in: 0, lost: 0, cols: 80, rows: 24, role: 'operator', ...change });
const presence = (change: object = {}) => receive('P', { operators: 1, viewers: 0, holds: true, held: true, ...change });
const elsewhere = (change: object = {}) => presence({ operators: 2, holds: false, ...change });
/** Frames with an offset are written as `A@5` and `I@5:text`. */
const readable = (frame: Uint8Array) => {
  const kind = String.fromCharCode(frame[0]!);
  if (kind !== 'A' && kind !== 'I') return new TextDecoder().decode(frame);
  const offset = new DataView(frame.buffer, frame.byteOffset).getBigUint64(1);
  return kind === 'A' ? `A@${offset}` : `I@${offset}:${new TextDecoder().decode(frame.subarray(9))}`;
};

beforeEach(() => {
  vi.clearAllMocks();
  view = new FakeView();
  sent = [];
  store = new TabStore('id', null);
  session = new TerminalSession(view as unknown as TerminalView, status as unknown as Status, store, people as unknown as People, page);
  session.use({ send: (frame: Uint8Array) => (sent.push(readable(frame)), true), noteExit } as unknown as Connection);
});

describe('a connection that may be dead', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const ack = (offset: number) => {
    const frame = new Uint8Array(9);
    frame[0] = 'K'.charCodeAt(0);
    new DataView(frame.buffer).setBigUint64(1, BigInt(offset));
    session.frame(frame.buffer);
  };

  it('is not suspected while nothing was typed, or while anything comes', () => {
    start();
    vi.advanceTimersByTime(600_000);
    expect(session.unanswered).toBe(false);
    session.input(bytes('x'));
    for (let seconds = 0; seconds < 60; seconds += 10) {
      vi.advanceTimersByTime(10_000);
      receive('0', 'busy');
    }
    expect(session.unanswered).toBe(false);
  });

  it('is suspected when what was typed is answered by nothing', () => {
    start();
    session.input(bytes('x'));
    ack(1);
    session.input(bytes('y'));
    vi.advanceTimersByTime(15_000);
    expect(session.unanswered).toBe(false);
    vi.advanceTimersByTime(1);
    expect(session.unanswered).toBe(true);
    session.disconnected();
    expect(session.unanswered).toBe(false);
  });

  it('is not suspected once all that was typed is confirmed', () => {
    start();
    session.input(bytes('xy'));
    ack(2);
    vi.advanceTimersByTime(600_000);
    expect(session.unanswered).toBe(false);
  });
});

describe('on tty.r1', () => {
  beforeEach(() => session.connected('tty.r1'));

  it('replays, goes live, acknowledges, and fits itself once it is caught up', () => {
    start({ end: 3 });
    presence();
    receive('0', 'oldnew');
    expect(view.log).toEqual(['reset 80x24', 'replay old', 'size 100x30', 'live new']);
    expect(sent).toEqual(['1{"columns":100,"rows":30}', 'A@6']);
    expect(view.answersQueries).toBe(true);
  });

  it('keeps the screen on a delta, and says hello with its place', () => {
    start({ off: 0, end: 0 });
    receive('0', 'abc');
    session.input(bytes('x'));
    session.disconnected();
    const hello = JSON.parse(new TextDecoder().decode(session.hello()));
    expect(hello.resume).toMatchObject({ sid: 's', off: 3, in: 1 });
    session.connected('tty.r1');
    start({ mode: 'delta', off: 3, end: 3, in: 0 });
    expect(view.log.filter((entry) => entry.startsWith('reset'))).toHaveLength(1);
    expect(sent.filter((frame) => frame.startsWith('I'))).toEqual(['I@0:x', 'I@0:x']);
  });

  it('has nothing to resume after a reload', () => {
    expect(new TextDecoder().decode(session.hello())).toBe('{"AuthToken":"","columns":100,"rows":30}');
  });

  it('sends typed input at its offset, and none after the end', () => {
    start();
    session.input(bytes('ab'));
    session.input(bytes('c'));
    receive('X', { code: 0, signal: null, reason: 'exited', end: 0, message: null });
    session.input(bytes('late'));
    expect(sent.filter((frame) => frame.startsWith('I'))).toEqual(['I@0:ab', 'I@2:c']);
    expect(noteExit).toHaveBeenCalledOnce();
    expect(status.ended).toHaveBeenCalledOnce();
    expect(view.readOnly).toBe(true);
  });

  it('tells the round trip of what is typed, and that it is unknown once the connection is gone', () => {
    start();
    presence();
    session.input(bytes('a'));
    expect(status.latency).not.toHaveBeenCalledWith(expect.any(Number));
    const one = new Uint8Array(9);
    one[0] = 'K'.charCodeAt(0);
    one[8] = 1;
    session.frame(one.buffer);
    expect(status.latency).toHaveBeenLastCalledWith(expect.any(Number));
    session.disconnected();
    expect(status.latency).toHaveBeenLastCalledWith(null);
  });

  it('sends nothing at all as a viewer', () => {
    start({ role: 'viewer' });
    session.input(bytes('x'));
    receive('Z', { cols: 50, rows: 10 });
    expect(sent).toEqual([]);
    expect(view).toMatchObject({ readOnly: true, answersQueries: false });
    expect(view.log).toContain('size 50x10');
  });

  it('shows a snapshot as replay, and says what was lost', () => {
    start({ mode: 'snapshot', off: 900, end: 900, lost: 700 });
    receive('V', 'screen');
    presence();
    expect(view.log).toEqual(['reset 80x24', 'replay screen', 'size 100x30']);
    expect(status.hasOutput).toHaveBeenCalled();
    expect(page.lost).toHaveBeenCalledWith(700);
    receive('0', 'x');
    expect(sent.at(-1)).toBe('A@901');
  });

  it('draws a snapshot in mid-stream at the size that it was taken at, and goes on from its place', () => {
    start({ cols: 100, rows: 30 });
    presence();
    receive('0', 'abc');
    view.log = [];
    start({ mode: 'snapshot', off: 5_000, end: 5_000, lost: 4_997, cols: 90, rows: 20 });
    expect(view.answersQueries).toBe(false);
    receive('V', 'screen');
    expect(view.log).toEqual(['reset 90x20', 'replay screen', 'size 100x30']);
    expect(view.answersQueries).toBe(true);
    receive('0', 'live');
    expect(sent.at(-1)).toBe('A@5004');
    expect(view.log.at(-1)).toBe('live live');
    expect(page.lost).toHaveBeenCalledWith(4_997);
  });

  it('draws what follows a snapshot and precedes the present as a replay', () => {
    start({ mode: 'snapshot', off: 900, end: 903, lost: 900 });
    receive('V', 'screen');
    presence();
    expect(view.answersQueries).toBe(false);
    receive('0', 'oldnew');
    expect(view.log).toEqual(['reset 80x24', 'replay screen', 'replay old', 'size 100x30', 'live new']);
  });

  it('goes on in the size of the stream’s place, whatever became of the page meanwhile', () => {
    start();
    presence();
    session.disconnected();
    view.log = [];
    session.connected('tty.r1');
    start({ mode: 'delta', cols: 80, rows: 24, end: 3 });
    receive('0', 'old');
    expect(view.log).toEqual(['size 80x24', 'replay old']);
    presence();
    expect(view.log.at(-1)).toBe('size 100x30');
  });

  it('keeps tickets, and tells stages and what is waited for', () => {
    receive('T', { ticket: 't', pageToken: 'p' });
    receive('W', { state: 'starting', stage: 'fetching', text: 'Fetching the code' });
    expect(store.get()).toMatchObject({ ticket: 't', pageToken: 'p' });
    expect(status.stage).toHaveBeenCalledWith('fetching');
    expect(status.waiting).toHaveBeenCalledWith('Fetching the code');
  });

  it('passes over frames that it does not know', () => {
    expect(() => receive('?', 'x')).not.toThrow();
  });
});

describe('the keyboard', () => {
  beforeEach(() => {
    session.connected('tty.r1');
    session.hello();
    start({ cols: 100, rows: 30 });
  });
  const typed = () => sent.filter((frame) => frame.startsWith('I'));

  it('is somebody else’s: nothing typed is sent or kept, the person is told, and no query is answered', () => {
    elsewhere();
    expect(people.tell).toHaveBeenLastCalledWith('elsewhere', '');
    people.tell.mockClear();
    session.input(bytes('x'));
    expect(people.tell).toHaveBeenCalledExactlyOnceWith('elsewhere');
    session.input(bytes('\x1b[<0;1;1M'), false);
    expect(people.tell).toHaveBeenCalledOnce();
    session.disconnected();
    session.input(bytes('y'));
    session.connected('tty.r1');
    start();
    expect(typed()).toEqual([]);
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
  });

  it('is taken over, with a word to the server, and is this page’s once the server says so', () => {
    elsewhere();
    receive('Z', { cols: 60, rows: 20 });
    session.takeOver(false);
    session.takeOver(true);
    expect(sent).toEqual(['L{"leave":false}', 'L{"leave":true}']);
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
    presence({ operators: 2 });
    expect(sent.at(-1)).toBe('1{"columns":100,"rows":30}');
    expect(view).toMatchObject({ answersQueries: true, scaled: false });
    session.input(bytes('x'));
    expect(typed()).toEqual(['I@0:x']);
  });

  it('is lost to another operator, and this page goes on watching', () => {
    presence();
    session.input(bytes('a'));
    elsewhere();
    expect(people.tell).toHaveBeenCalledExactlyOnceWith('taken', '');
    session.input(bytes('b'));
    receive('0', 'out');
    expect(typed()).toEqual(['I@0:a']);
    expect(view.log.at(-1)).toBe('live out');
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
  });

  it('was lost while this page was away, which says that what was typed may be lost', () => {
    presence();
    session.disconnected();
    session.input(bytes('late'));
    session.connected('tty.r1');
    start({ mode: 'delta' });
    elsewhere();
    expect(people.tell).toHaveBeenLastCalledWith('taken', 'What you typed meanwhile may have reached nobody.');
  });

  it('is not typed on after another operator has sent this page away, nor when it comes back', () => {
    presence();
    session.disconnected(true);
    session.input(bytes('x'));
    session.connected('tty.r1');
    start({ mode: 'delta' });
    elsewhere();
    expect(typed()).toEqual([]);
  });

  it('of nobody is this page’s when it types, or after a moment', () => {
    vi.useFakeTimers();
    elsewhere({ operators: 1, held: false });
    session.input(bytes('x'));
    expect(typed()).toEqual(['I@0:x']);
    vi.advanceTimersByTime(3_000);
    expect(sent.at(-1)).toBe('1{"columns":100,"rows":30}');
    expect(view.answersQueries).toBe(false);
    vi.useRealTimers();
  });

  it('and who is there are shown to viewers, who are told nothing more', () => {
    start({ role: 'viewer' });
    elsewhere({ viewers: 1 });
    expect(people.show).toHaveBeenLastCalledWith({ operators: 2, viewers: 1, holds: false, held: true }, 'viewer');
    expect(people.tell).not.toHaveBeenCalled();
    expect(session.canShare).toBe(false);
  });

  it('is of no interest after the end', () => {
    presence();
    receive('X', { code: 0, signal: null, reason: 'exited', end: 0, message: null });
    elsewhere();
    expect(people.gone).toHaveBeenCalled();
    expect(people.tell).not.toHaveBeenCalled();
  });

  it('has nothing to do with sharing: every operator with a page token can', () => {
    elsewhere();
    expect(session.canShare).toBe(false);
    receive('T', { ticket: 't', pageToken: 'p' });
    expect(session.canShare).toBe(true);
    session.disconnected();
    expect(session.canShare).toBe(false);
  });
});

describe('on a stock ttyd', () => {
  beforeEach(() => session.connected('tty'));

  it('types and shows as ttyd’s own page does', () => {
    receive('1', 'bash');
    receive('2', {});
    receive('0', 'hi');
    session.input(bytes('ls\r'));
    expect(view.log).toEqual(['live hi']);
    expect(sent).toEqual(['0ls\r']);
    expect(status.title).toHaveBeenCalledWith('bash');
    expect(status.stage).toHaveBeenCalledWith('running');
  });

  it('asks it to pause while the page is behind', () => {
    const pending: (() => void)[] = [];
    view.write = (_bytes, _replay, parsed = () => {}) => void pending.push(parsed);
    for (let i = 0; i < 3; i++) receive('0', 'x'.repeat(1024 * 1024));
    expect(sent).toEqual(['2']);
    for (const parsed of pending) parsed();
    expect(sent).toEqual(['2', '3']);
  });
});
