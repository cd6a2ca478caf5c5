// The connection's decisions, against a socket that does what the test says.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection, type ConnectionState, type SocketLike } from '../src/connection';
import { TabStore } from '../src/storage';

class FakeSocket implements SocketLike {
  binaryType = '';
  protocol = 'tty.r1';
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  sent: Uint8Array[] = [];
  closed = false;

  constructor(readonly url: string, readonly protocols: string[]) {}

  send(data: Uint8Array): void {
    this.sent.push(data);
  }

  close(): void {
    this.closed = true;
  }

  open(protocol = 'tty.r1'): this {
    this.protocol = protocol;
    this.readyState = 1;
    this.onopen?.();
    return this;
  }

  message(text: string): this {
    this.onmessage?.({ data: new TextEncoder().encode(text).buffer });
    return this;
  }

  end(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

function setUp(given: { token?: string; ticket?: string; pageRefusal?: string } = {}) {
  const sockets: FakeSocket[] = [];
  const states: ConnectionState[] = [];
  const frames: ArrayBuffer[] = [];
  const store = new TabStore('id', null);
  if (given.ticket) store.keepTickets(given.ticket, 'page');
  const connection = new Connection({
    url: 'ws://host/ws/id',
    token: given.token ?? null,
    pageRefusal: given.pageRefusal ?? '',
    store,
    openSocket: (url, protocols) => {
      sockets.push(new FakeSocket(url, protocols));
      return sockets.at(-1)!;
    },
    random: () => 0,
    hello: () => new TextEncoder().encode('{}'),
    onFrame: (frame) => frames.push(frame),
    onState: (state) => states.push(state),
  });
  connection.connect();
  return { connection, store, sockets, states, frames, last: () => sockets.at(-1)! };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('entering', () => {
  it('uses the token first, offers no ticket that it was given beside it, and one that it drew for the way back', () => {
    const { last, sockets } = setUp({ token: 'a+b', ticket: 't' });
    expect(last().url).toBe('ws://host/ws/id?token=a%2Bb');
    const [, , own] = last().protocols;
    expect(last().protocols).toEqual(['tty.r1', 'tty', own]);
    expect(own).toMatch(/^own-ticket\.[\w-]{43}$/);
    // The answer is lost.
    last().end(1006);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
    expect(last().protocols).toEqual(['tty.r1', 'tty', own!.replace('own-', ''), own]);
  });

  it('uses the ticket without a token, as a subprotocol and never in the address', () => {
    const { last } = setUp({ ticket: 'tick' });
    expect(last().url).toBe('ws://host/ws/id');
    expect(last().protocols).toEqual(['tty.r1', 'tty', 'ticket.tick']);
  });

  it('explains where it has neither', () => {
    const { sockets, connection } = setUp();
    expect(sockets).toHaveLength(0);
    expect(connection.state).toEqual({ kind: 'refused', slug: 'token_missing', retry: false });
  });

  it('says hello first', () => {
    const { last } = setUp({ token: 't' });
    last().open();
    expect(new TextDecoder().decode(last().sent[0])).toBe('{}');
  });

  it('tries the ticket once the token is refused', () => {
    const { sockets, last, connection } = setUp({ token: 't', ticket: 'tick' });
    last().open().end(4401, 'token_used');
    expect(sockets).toHaveLength(2);
    expect(last().protocols).toContain('ticket.tick');
    last().open();
    expect(connection.state.kind).toBe('open');
  });

  it('explains a refused token where there is no ticket', () => {
    const { last, connection } = setUp({ token: 't' });
    last().open().end(4401, 'token_expired');
    expect(connection.state).toEqual({ kind: 'refused', slug: 'token_expired', retry: false });
  });

  it('drops a refused ticket, and does not fall back to anything', () => {
    const { last, connection, store, sockets } = setUp({ ticket: 'tick' });
    last().open().end(4401, 'ticket_reused');
    expect(connection.state).toMatchObject({ kind: 'refused', slug: 'ticket_reused' });
    expect(store.get().ticket).toBeNull();
    expect(sockets).toHaveLength(1);
  });

  it('does not offer a token that the server refused with the page', () => {
    expect(setUp({ token: 't', pageRefusal: 'token_used' }).connection.state).toMatchObject({ slug: 'token_used' });
    expect(setUp({ token: 't', pageRefusal: 'token_used', ticket: 'tick' }).last().protocols).toContain('ticket.tick');
  });

  it('keeps an unused token for the next try when the server could not be reached', () => {
    const { last, sockets } = setUp({ token: 't' });
    last().end(1006);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
    expect(last().url).toContain('?token=t');
  });

  it('gives up an upgrade that never answers', () => {
    const { sockets } = setUp({ token: 't' });
    vi.advanceTimersByTime(15_000);
    expect(sockets[0]!.closed).toBe(true);
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });
});

describe('coming back', () => {
  const entered = () => {
    const all = setUp({ token: 't' });
    all.last().open().message('W{}');
    all.store.keepTickets('tick', 'page');
    return all;
  };

  it('waits, says for how long, and enters with the ticket', () => {
    const { last, connection, sockets } = entered();
    last().end(1006);
    expect(connection.state).toEqual({ kind: 'waiting', attempt: 1, delayMs: 500, why: 'lost' });
    vi.advanceTimersByTime(499);
    expect(sockets).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(last().protocols).toContain('ticket.tick');
    expect(last().url).not.toContain('token');
  });

  it('comes back at once from a draining server, but does not spin', () => {
    const { last, connection } = entered();
    last().end(1012);
    expect(connection.state).toMatchObject({ kind: 'waiting', delayMs: 0, why: 'draining' });
    vi.advanceTimersByTime(0);
    last().open().end(1012);
    expect(connection.state).toMatchObject({ kind: 'waiting', delayMs: 500 });
  });

  it('tries again when the server is unavailable', () => {
    const { last, connection } = entered();
    last().end(1013);
    expect(connection.state).toMatchObject({ kind: 'waiting', why: 'unavailable' });
  });

  it('does not wait once the network or the person is back', () => {
    const { last, connection, sockets } = entered();
    last().end(1006);
    connection.networkChanged();
    expect(sockets).toHaveLength(2);
    last().end(1006);
    connection.retryNow();
    expect(sockets).toHaveLength(3);
    vi.advanceTimersByTime(60_000 - 1);
    expect(sockets.filter((socket) => !socket.closed).length).toBeLessThanOrEqual(1);
  });

  it('replaces an open socket when the network changes under it', () => {
    const { sockets, connection } = entered();
    connection.networkChanged();
    expect(sockets).toHaveLength(2);
    expect(sockets[0]!.closed).toBe(true);
  });

  it('replaces an attempt when the network changes under it, unless that may have used the token up', () => {
    const { last, connection, sockets } = entered();
    last().end(1006);
    connection.retryNow();
    connection.networkChanged();
    expect(sockets).toHaveLength(3);
    expect(sockets[1]!.closed).toBe(true);
    const first = setUp({ token: 't' });
    first.connection.networkChanged();
    expect(first.sockets).toHaveLength(1);
  });

  it('counts attempts up while none holds, and starts anew after one that did', () => {
    const { last, connection } = entered();
    for (const attempt of [1, 2, 3]) {
      last().end(1006);
      expect(connection.state).toMatchObject({ attempt });
      vi.advanceTimersByTime(10_000);
      last().open();
    }
    vi.advanceTimersByTime(5_000);
    last().end(1006);
    expect(connection.state).toMatchObject({ attempt: 1 });
  });

  it('explains where a stock server left no way back', () => {
    const { last, connection } = setUp({ token: 't' });
    last().open('tty').message('0hi').end(1006);
    vi.advanceTimersByTime(500);
    expect(connection.state).toMatchObject({ kind: 'refused', slug: 'connection_lost' });
  });
});

describe('not coming back', () => {
  it('comes back where an attempt that it had given up arrived after the one that took its place', () => {
    const { last, connection, sockets } = setUp({ ticket: 't' });
    last().open().message('W{}').end(4409, 'this client has connected anew');
    expect(connection.state).toMatchObject({ kind: 'waiting' });
    vi.advanceTimersByTime(500);
    expect(sockets).toHaveLength(2);
  });

  it.each([
    [4403, 'forbidden_origin', false],
    [4404, 'session_unknown', false],
    [4408, 'idle', true],
    [4409, 'taken_over', true],
    [4409, 'sent_away', true],
    [4410, 'session_ended', false],
    [4429, 'too_many_connections', true],
  ])('explains %i %s and tries again only when told', (code, slug, retry) => {
    const { last, connection, sockets } = setUp({ ticket: 't' });
    last().open().message('W{}');
    vi.advanceTimersByTime(5_000);
    last().end(code, slug);
    vi.advanceTimersByTime(60_000);
    expect(connection.state).toEqual({ kind: 'refused', slug, retry });
    expect(sockets).toHaveLength(1);
    connection.retryNow();
    expect(sockets).toHaveLength(retry ? 2 : 1);
  });

  it.each([
    ['idle', true],
    ['taken_over', false],
    ['sent_away', false],
  ])('after %s, %s: tries by itself once the network or the tab is back', (slug, unasked) => {
    const { last, connection, sockets } = setUp({ ticket: 't' });
    last().open().message('W{}');
    vi.advanceTimersByTime(5_000);
    last().end(4408, slug);
    connection.networkChanged();
    expect(sockets).toHaveLength(unasked ? 2 : 1);
  });

  it('ends with the session, whatever the close says after an exit', () => {
    const ended = setUp({ ticket: 't' });
    ended.last().open().end(1000);
    expect(ended.connection.state).toEqual({ kind: 'ended' });
    const exited = setUp({ ticket: 't' });
    exited.last().open();
    exited.connection.noteExit();
    exited.last().end(1006);
    vi.advanceTimersByTime(60_000);
    expect(exited.connection.state).toEqual({ kind: 'ended' });
    expect(exited.sockets).toHaveLength(1);
  });

  it('sends nothing into a socket that is not open', () => {
    const { connection, last } = setUp({ token: 't' });
    expect(connection.send(new Uint8Array([1]))).toBe(false);
    last().open();
    expect(connection.send(new Uint8Array([1]))).toBe(true);
  });

  it('enters with a token that comes later, and has no use for one while it is connected', () => {
    const { last, connection, sockets } = setUp();
    expect(connection.state).toEqual({ kind: 'refused', slug: 'token_missing', retry: false });
    connection.useToken('late');
    expect(last().url).toContain('?token=late');
    last().open().message('W{}');
    connection.useToken('spare');
    expect(sockets).toHaveLength(1);
    const refused = setUp({ pageRefusal: 'token_expired' });
    refused.connection.useToken('fresh');
    expect(refused.last().url).toContain('?token=fresh');
  });
});
