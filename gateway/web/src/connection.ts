// The WebSocket and its life: which credential to enter with, when to try again, when to give up and why. It knows
// nothing of the terminal: frames are handed on as they come, and what has to be said first is asked for.

import { backoffMs } from './backoff';
import { mayRetry, mayRetryUnasked, refusalSlug } from './explain';
import { OWN_TICKET_PREFIX, TICKET_PREFIX, TTY, TTY_R1, type Wire } from './protocol';
import type { TabStore } from './storage';

export type ConnectionState =
  | { kind: 'connecting'; attempt: number }
  | { kind: 'open'; wire: Wire }
  | { kind: 'waiting'; attempt: number; delayMs: number; why: 'lost' | 'unavailable' | 'draining' }
  | { kind: 'refused'; slug: string; retry: boolean }
  | { kind: 'ended' };

export interface SocketLike {
  binaryType: string;
  readonly protocol: string;
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface ConnectionDeps {
  /** The terminal's address without a query, ws: or wss:. */
  url: string;
  token: string | null;
  /** Why the server refused the token when it served the page; empty when it did not. */
  pageRefusal: string;
  store: TabStore;
  openSocket: (url: string, protocols: string[]) => SocketLike;
  random?: () => number;
  /** The first message of each connection. */
  hello: () => Uint8Array<ArrayBuffer>;
  onFrame: (message: ArrayBuffer) => void;
  onState: (state: ConnectionState) => void;
}

/** An upgrade that takes longer than this is given up and tried again. */
const CONNECT_TIMEOUT_MS = 15_000;
/** A connection that held this long was a good one: the next back-off starts small again. */
const SETTLED_MS = 5_000;
const OPEN = 1;

export class Connection {
  private socket: SocketLike | null = null;
  private token: string | null;
  /** Drawn by this page, to be its first. */
  private ownTicket: string | null = null;
  private pageRefusal: string;
  private enteredWith: 'token' | 'ticket' | null = null;
  /** Failed attempts since the last settled connection. */
  private attempt = 0;
  private openedAt = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private exited = false;
  private current: ConnectionState = { kind: 'connecting', attempt: 0 };

  constructor(private readonly deps: ConnectionDeps) {
    this.token = deps.token;
    this.pageRefusal = deps.pageRefusal;
    // The server has looked at this token already and refused it.
    if (this.pageRefusal !== '') this.token = null;
  }

  get state(): ConnectionState {
    return this.current;
  }

  /** Enters with an unused token, else the ticket, else explains that there is neither. */
  connect(): void {
    this.forgetSocket();
    const { ticket } = this.deps.store.get();
    const protocols: string[] = [TTY_R1, TTY];
    let url = this.deps.url;
    if (this.token !== null) {
      this.enteredWith = 'token';
      url += `?token=${encodeURIComponent(this.token)}`;
      // An earlier attempt may have used the token up, and its answer have been lost: then this is the way in.
      if (this.ownTicket !== null) protocols.push(TICKET_PREFIX + this.ownTicket);
      this.ownTicket ??= randomTicket();
      protocols.push(OWN_TICKET_PREFIX + this.ownTicket);
    } else if (ticket !== null) {
      this.enteredWith = 'ticket';
      protocols.push(TICKET_PREFIX + ticket);
    } else {
      const slug = this.enteredWith !== null ? 'connection_lost' : this.pageRefusal || 'token_missing';
      this.enter({ kind: 'refused', slug, retry: false });
      return;
    }
    this.enter({ kind: 'connecting', attempt: this.attempt });
    this.listen(this.deps.openSocket(url, protocols));
  }

  send(frame: Uint8Array<ArrayBuffer>): boolean {
    if (this.socket?.readyState !== OPEN || this.current.kind !== 'open') return false;
    this.socket.send(frame);
    return true;
  }

  /** A token that comes while the page is open. Where there is a connection, it is not needed. */
  useToken(token: string): void {
    if (this.current.kind === 'open' || this.current.kind === 'ended') return;
    this.token = token;
    this.pageRefusal = '';
    this.attempt = 0;
    this.connect();
  }

  /** The program is over: the close that follows is the end, whatever its code. */
  noteExit(): void {
    this.exited = true;
  }

  /** The person asks for it: no waiting for the back-off. */
  retryNow(): void {
    if (this.current.kind === 'waiting' || (this.current.kind === 'refused' && this.current.retry)) this.connect();
  }

  /** The network is back, or the tab is seen again. Another window that took this one's place keeps it. */
  retryUnasked(): void {
    if (this.current.kind !== 'refused' || mayRetryUnasked(this.current.slug)) this.retryNow();
  }

  /**
   * The network has changed under a socket, which may be dead without knowing it. An attempt with the token is left
   * alone: if it got through, a second one would find the token used.
   */
  networkChanged(): void {
    const { kind } = this.current;
    const replaceable = kind === 'open' || (kind === 'connecting' && this.enteredWith === 'ticket');
    if (replaceable && this.deps.store.get().ticket !== null && !this.exited) this.connect();
    else this.retryUnasked();
  }

  private listen(socket: SocketLike): void {
    this.socket = socket;
    socket.binaryType = 'arraybuffer';
    this.timer = setTimeout(() => this.closed(1006, ''), CONNECT_TIMEOUT_MS);
    socket.onopen = () => {
      this.clearTimer();
      this.openedAt = Date.now();
      this.enter({ kind: 'open', wire: socket.protocol === TTY_R1 ? TTY_R1 : TTY });
      socket.send(this.deps.hello());
    };
    socket.onmessage = ({ data }) => {
      // Admission comes before the first message: a token that got this far is used up.
      this.token = null;
      if (data instanceof ArrayBuffer) this.deps.onFrame(data);
    };
    socket.onclose = ({ code, reason }) => this.closed(code, reason);
  }

  private closed(code: number, reason: string): void {
    const settled = this.current.kind === 'open' && Date.now() - this.openedAt >= SETTLED_MS;
    this.forgetSocket();
    if (this.exited || code === 1000) {
      this.enter({ kind: 'ended' });
    } else if (code === 4401) {
      this.credentialRefused(refusalSlug(code, reason));
    } else if (code >= 4000) {
      const slug = refusalSlug(code, reason);
      // An attempt of this page's own that was given up may still arrive, after the one that took its place.
      if (slug === 'taken_over' && !settled) return this.reconnect(code);
      const hasTicket = this.deps.store.get().ticket !== null;
      this.enter({ kind: 'refused', slug, retry: mayRetry(slug) && (hasTicket || this.token !== null) });
    } else {
      if (settled) this.attempt = 0;
      this.reconnect(code);
    }
  }

  private credentialRefused(slug: string): void {
    if (this.enteredWith === 'token') {
      this.token = null;
      if (this.deps.store.get().ticket !== null) {
        this.connect();
        return;
      }
    } else {
      this.deps.store.dropTicket();
    }
    this.enter({ kind: 'refused', slug, retry: false });
  }

  private reconnect(code: number): void {
    const draining = code === 1012 && this.attempt === 0;
    const why = code === 1012 ? 'draining' : code === 1013 ? 'unavailable' : 'lost';
    const delayMs = draining ? 0 : backoffMs(this.attempt, this.deps.random);
    this.attempt += 1;
    this.enter({ kind: 'waiting', attempt: this.attempt, delayMs, why });
    this.timer = setTimeout(() => this.connect(), delayMs);
  }

  private enter(state: ConnectionState): void {
    this.current = state;
    this.deps.onState(state);
  }

  /** Lets go of the socket without waiting for a closing handshake that a dead network would never answer. */
  private forgetSocket(): void {
    this.clearTimer();
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  private clearTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}

/** 32 bytes, as the server's own. */
function randomTicket(): string {
  const bits = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32)));
  return btoa(bits).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
