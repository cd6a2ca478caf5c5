// The terminal's messages, as bytes and as values: ttyd's protocol (subprotocol `tty`) and what `tty.r1` adds to it.
// One WebSocket binary message is one frame: a type byte, then its payload. The hello alone is bare JSON.

export const TTY_R1 = 'tty.r1';
export const TTY = 'tty';
export const TICKET_PREFIX = 'ticket.';
/** Offers the ticket that the page would have, beside a token. */
export const OWN_TICKET_PREFIX = 'own-ticket.';

/** Larger input is sent in several frames; the server refuses frames above 256 KiB. */
export const MAX_INPUT_PAYLOAD = 32 * 1024;

export type Wire = typeof TTY_R1 | typeof TTY;
export type Role = 'operator' | 'viewer';
export type StartMode = 'delta' | 'full' | 'snapshot';

export interface Size {
  cols: number;
  rows: number;
}

/** Where this page stands in a stream whose content it still holds. */
export interface Resume {
  sid: string;
  /** Output bytes seen. */
  off: number;
  /** Input bytes sent. */
  in: number;
  client: string;
}

export interface Start extends Size {
  sid: string;
  mode: StartMode;
  /** The offset of the next output byte. */
  off: number;
  /** The offset that the stream had reached; what lies below it is replay. */
  end: number;
  /** Input accepted so far. */
  in: number;
  /** Output bytes that are never sent. */
  lost: number;
  role: Role;
}

export interface Exit {
  code: number | null;
  signal: string | null;
  reason: string;
  end: number;
  message: string | null;
}

/** Who is there, and whose the keyboard is; with the keyboard goes the size. */
export interface Presence {
  /** Connections that may type, and those that may only watch; this one is counted. */
  operators: number;
  viewers: number;
  /** This connection has the keyboard: what it types is typed, and its terminal answers the program's queries. */
  holds: boolean;
  /** Some connection has it. Where none has, the next operator to type or to tell a size gets it. */
  held: boolean;
}

/** How long the session has from now, and may have at most. */
export interface Deadline {
  left_ms: number;
  max_left_ms: number;
}

export type ServerFrame =
  | { type: 'output'; bytes: Uint8Array }
  | { type: 'title'; title: string }
  | { type: 'preferences' }
  | { type: 'waiting'; stage: string; text: string }
  | { type: 'tickets'; ticket: string; pageToken: string }
  | { type: 'start'; start: Start }
  | { type: 'snapshot'; bytes: Uint8Array }
  | { type: 'resized'; size: Size }
  | { type: 'inputAck'; offset: number }
  | { type: 'presence'; presence: Presence }
  | { type: 'deadline'; deadline: Deadline }
  | { type: 'exit'; exit: Exit };

const text = new TextDecoder();
const utf8 = new TextEncoder();

/** A server's message; null where this page cannot read it (a later server may say more than this page knows). */
export function decodeServerFrame(message: ArrayBuffer): ServerFrame | null {
  try {
    return decode(message);
  } catch {
    return null;
  }
}

function decode(message: ArrayBuffer): ServerFrame | null {
  if (message.byteLength === 0) return null;
  const bytes = new Uint8Array(message);
  const payload = bytes.subarray(1);
  switch (String.fromCharCode(bytes[0]!)) {
    case '0':
      return { type: 'output', bytes: payload };
    case '1':
      return { type: 'title', title: text.decode(payload) };
    case '2':
      return { type: 'preferences' };
    case 'W':
      return { type: 'waiting', ...json<{ stage: string; text: string }>(payload) };
    case 'T':
      return { type: 'tickets', ...json<{ ticket: string; pageToken: string }>(payload) };
    case 'S':
      return { type: 'start', start: json<Start>(payload) };
    case 'V':
      return { type: 'snapshot', bytes: payload };
    case 'Z':
      return { type: 'resized', size: json<Size>(payload) };
    case 'K':
      return payload.length < 8 ? null : { type: 'inputAck', offset: readOffset(payload) };
    case 'P':
      return { type: 'presence', presence: json<Presence>(payload) };
    case 'D':
      return { type: 'deadline', deadline: json<Deadline>(payload) };
    case 'X':
      return { type: 'exit', exit: json<Exit>(payload) };
    default:
      return null;
  }
}

/** The first message. A size is left out where the page follows another's. */
export function encodeHello(size: Size | null, resume: Resume | null): Uint8Array<ArrayBuffer> {
  const hello: Record<string, unknown> = { AuthToken: '' };
  if (size) {
    hello.columns = size.cols;
    hello.rows = size.rows;
  }
  if (resume) hello.resume = resume;
  return utf8.encode(JSON.stringify(hello));
}

/** Input as a stock ttyd takes it. */
export function encodeInput(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(1 + bytes.length);
  frame[0] = 0x30;
  frame.set(bytes, 1);
  return frame;
}

/** Input at its place: `offset` input bytes were sent before it, so the server applies nothing twice. */
export function encodeInputAt(offset: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = withOffset('I', offset, bytes.length);
  frame.set(bytes, 9);
  return frame;
}

export function encodeResize(size: Size): Uint8Array<ArrayBuffer> {
  return utf8.encode(`1${JSON.stringify({ columns: size.cols, rows: size.rows })}`);
}

/** Takes the keyboard and the size over. `leave`: whoever has them is sent away, too. */
export function encodeTake(leave: boolean): Uint8Array<ArrayBuffer> {
  return utf8.encode(`L${JSON.stringify({ leave })}`);
}

/** Output up to `offset` has been parsed: the server's window moves on. */
export function encodeAck(offset: number): Uint8Array<ArrayBuffer> {
  return withOffset('A', offset, 0);
}

/** ttyd's own flow control, for servers that have no window. */
export const PAUSE = utf8.encode('2');
export const RESUME = utf8.encode('3');

function json<T>(payload: Uint8Array): T {
  return JSON.parse(text.decode(payload)) as T;
}

// Offsets are u64 on the wire and numbers here: 2^53 bytes are more than any session prints.
function readOffset(payload: Uint8Array): number {
  return Number(new DataView(payload.buffer, payload.byteOffset).getBigUint64(0));
}

function withOffset(kind: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(9 + length);
  frame[0] = kind.charCodeAt(0);
  new DataView(frame.buffer).setBigUint64(1, BigInt(offset));
  return frame;
}
