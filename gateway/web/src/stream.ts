// The stream's bookkeeping: how far the output has come, and which input the server has not confirmed yet. Pure: it
// holds numbers and bytes and says what to send.

import { MAX_INPUT_PAYLOAD, type Resume, type Start } from './protocol';

export interface InputPart {
  offset: number;
  bytes: Uint8Array;
}

export interface OutputPart {
  bytes: Uint8Array;
  /** Seen by this program's terminal before: queries in it were answered long ago. */
  replay: boolean;
  /** The offset behind its last byte. */
  end: number;
  /** Counts the takings-up of the stream, so that a late parse does not move a newer position. */
  epoch: number;
}

/** Typed while nobody can take it: more than this is refused, since nobody types that much blindly on purpose. */
export const MAX_HELD_INPUT = 64 * 1024;
/** The server is told of parsed output at least this often. */
export const ACK_EVERY = 64 * 1024;

export class StreamPosition {
  private sid: string | null = null;
  /** Output bytes received. */
  private received = 0;
  private parsed = 0;
  private acked = 0;
  private replayEnd = 0;
  private epoch = 0;
  /** Input not confirmed yet; its first byte is at `inputBase`. */
  private unconfirmed = new Uint8Array(0);
  private inputBase = 0;
  /** Between the first `S` of a connection and its close: input may be sent. */
  private live = false;

  get offset(): number {
    return this.received;
  }

  get streamId(): string | null {
    return this.sid;
  }

  get unconfirmedInput(): boolean {
    return this.unconfirmed.length > 0;
  }

  /** For the hello. None until a stream is known: its content must be in this page's memory for offsets to mean anything. */
  resume(client: string): Resume | null {
    if (this.sid === null) return null;
    return { sid: this.sid, off: this.received, in: this.inputBase + this.unconfirmed.length, client };
  }

  disconnected(): void {
    this.live = false;
  }

  /** Whether taking this up gives input up that was meant for another program. */
  drops(start: Start): boolean {
    return this.sid !== null && start.sid !== this.sid && this.unconfirmed.length > 0;
  }

  /** Takes the server's position up. Gives the input to send now. */
  start(start: Start): InputPart[] {
    if (start.sid !== this.sid) {
      // Held input goes to the first stream that is met; what was meant for another program must not reach this one.
      const held = this.sid === null ? this.unconfirmed : new Uint8Array(0);
      this.sid = start.sid;
      this.inputBase = start.in;
      this.unconfirmed = held;
    } else {
      this.confirm(start.in);
    }
    this.received = start.off;
    this.parsed = start.off;
    this.acked = start.off;
    this.replayEnd = start.end;
    this.epoch += 1;
    const first = !this.live;
    this.live = true;
    return first ? parts(this.inputBase, this.unconfirmed) : [];
  }

  /** Whether everything up to the point where this connection began has been parsed. */
  get caughtUp(): boolean {
    return this.parsed >= this.replayEnd;
  }

  /** Splits output at the replay's end. */
  output(bytes: Uint8Array): OutputPart[] {
    const from = this.received;
    const replayed = Math.max(0, Math.min(bytes.length, this.replayEnd - from));
    this.received += bytes.length;
    const { epoch } = this;
    return [
      { bytes: bytes.subarray(0, replayed), replay: true, end: from + replayed, epoch },
      { bytes: bytes.subarray(replayed), replay: false, end: this.received, epoch },
    ].filter((part) => part.bytes.length > 0);
  }

  /** A part is on the screen. Gives the offset to acknowledge, if it is time. */
  outputParsed(part: OutputPart): number | null {
    if (part.epoch !== this.epoch) return null;
    this.parsed = part.end;
    if (this.parsed - this.acked < ACK_EVERY && this.parsed < this.received) return null;
    this.acked = this.parsed;
    return this.parsed;
  }

  /** Typed bytes. Gives what to send now, or null where too much is held already. */
  input(bytes: Uint8Array): InputPart[] | null {
    if (!this.live && this.unconfirmed.length + bytes.length > MAX_HELD_INPUT) return null;
    const offset = this.inputBase + this.unconfirmed.length;
    const joined = new Uint8Array(this.unconfirmed.length + bytes.length);
    joined.set(this.unconfirmed);
    joined.set(bytes, this.unconfirmed.length);
    this.unconfirmed = joined;
    return this.live ? parts(offset, bytes) : [];
  }

  /** The server has input up to here. */
  confirm(offset: number): void {
    const known = Math.min(Math.max(0, offset - this.inputBase), this.unconfirmed.length);
    this.unconfirmed = this.unconfirmed.slice(known);
    this.inputBase = Math.max(this.inputBase, offset);
  }
}

function parts(offset: number, bytes: Uint8Array): InputPart[] {
  const split: InputPart[] = [];
  for (let at = 0; at < bytes.length; at += MAX_INPUT_PAYLOAD) {
    split.push({ offset: offset + at, bytes: bytes.subarray(at, at + MAX_INPUT_PAYLOAD) });
  }
  return split;
}
