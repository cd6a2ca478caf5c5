// One terminal session in this page: what each frame does to the terminal, the stream's position and the status, and
// what is sent because of it. It holds no socket and no DOM element of its own.

import type { Connection } from './connection';
import { Keyboard } from './keyboard';
import { Latency } from './latency';
import type { People } from './people';
import {
  PAUSE,
  RESUME,
  TTY_R1,
  decodeServerFrame,
  encodeAck,
  encodeHello,
  encodeInput,
  encodeInputAt,
  encodeResize,
  encodeTake,
  type Deadline,
  type Exit,
  type Presence,
  type Role,
  type Start,
  type Wire,
} from './protocol';
import { Sizing } from './sizing';
import type { Status } from './status';
import type { TabStore } from './storage';
import { StreamPosition, type InputPart } from './stream';
import type { TerminalView } from './terminal';

/** Unparsed output at which a stock ttyd is asked to pause, and at which to go on. */
const PAUSE_ABOVE = 2 * 1024 * 1024;
const RESUME_BELOW = 256 * 1024;

/** What is typed is confirmed at once by a server that is there, unless its program has stopped reading long ago. */
const UNANSWERED_MS = 15_000;

/** What a session asks of the page around it, and tells it. */
export interface PageHooks {
  /** Whether somebody can see it. */
  visible: () => boolean;
  /** What this session may be used for has changed. */
  changed: () => void;
  /** So many bytes of output are never sent to this page. */
  lost: (bytes: number) => void;
  /** When the session ends at the latest; null when it has ended. */
  deadline: (deadline: Deadline | null) => void;
}

export class TerminalSession {
  readonly sizing: Sizing;
  readonly stream = new StreamPosition();
  readonly keyboard: Keyboard;
  presence: Presence | null = null;
  role: Role = 'operator';
  stage: string | null = null;
  exit: Exit | null = null;
  private readonly latency = new Latency();
  private wire: Wire = TTY_R1;
  private connection: Connection | null = null;
  private unparsed = 0;
  private paused = false;
  /** Since when typed bytes wait for the server to say anything at all. */
  private waitingSince: number | null = null;
  /** What was typed without a connection was sent with it, before the server has said whose the keyboard is. */
  private sentUnasked = false;

  constructor(
    private readonly view: TerminalView,
    private readonly status: Status,
    private readonly store: TabStore,
    private readonly people: People,
    private readonly page: PageHooks,
  ) {
    this.sizing = new Sizing(view, (size) => void this.connection?.send(encodeResize(size)));
    this.keyboard = new Keyboard({ claim: () => this.sizing.claim(), visible: page.visible });
  }

  use(connection: Connection): void {
    this.connection = connection;
  }

  /** The first message of a connection. */
  hello(): Uint8Array<ArrayBuffer> {
    return encodeHello(this.sizing.proposed(), this.stream.resume(this.store.get().client));
  }

  connected(wire: Wire): void {
    this.wire = wire;
    this.paused = false;
    this.sizing.connected();
    if (wire === TTY_R1) return;
    // A stock server starts its program anew for each connection, and says nothing of stages.
    this.sizing.startStock();
    this.view.setReadOnly(false);
    this.setStage('running');
  }

  /** `sentAway`: by another operator, who has the keyboard now. */
  disconnected(sentAway = false): void {
    if (sentAway) this.keyboard.lost();
    this.stream.disconnected();
    this.waitingSince = null;
    this.latency.reset();
    this.status.latency(null);
    this.presence = null;
    this.keyboard.stop();
    this.people.gone();
    this.page.changed();
  }

  /** Whether a link to watch with may be asked for: by an operator, of a server that can hold watchers off. */
  get canShare(): boolean {
    return this.presence !== null && this.role === 'operator' && this.store.get().pageToken !== null;
  }

  /** Whether files may be sent and had: by an operator, for as long as there is a runner that has them. */
  get canTransfer(): boolean {
    return this.wire === TTY_R1 && this.role === 'operator' && this.store.get().pageToken !== null && this.stream.streamId !== null;
  }

  /** Whether a log and a recording may be asked for: by anybody who is or was in the session. */
  get canRead(): boolean {
    return this.wire === TTY_R1 && this.store.get().pageToken !== null;
  }

  /** Takes the keyboard over. `leave`: from somebody who is to leave. */
  takeOver(leave: boolean): void {
    if (!this.connection?.send(encodeTake(leave))) this.status.notice('Not connected: the keyboard cannot be taken over now.');
    this.view.focus();
  }

  /** Whether the connection seems dead: no page is told of a network that vanished, but this one has typed in vain. */
  get unanswered(): boolean {
    return this.waitingSince !== null && Date.now() - this.waitingSince > UNANSWERED_MS;
  }

  /** From the terminal: `typed`, or an answer or what a mouse does. */
  input(bytes: Uint8Array, typed = true): void {
    if (this.role === 'viewer' || this.exit) return;
    if (this.keyboard.elsewhere) {
      if (typed) this.people.tell('elsewhere');
      return;
    }
    if (this.wire !== TTY_R1) {
      // A stock server counts no input, so nothing can be kept for it: it might arrive twice.
      if (!this.connection?.send(encodeInput(bytes))) this.status.notice('Not connected: what you type is not kept.');
      return;
    }
    const parts = this.stream.input(bytes);
    if (parts) this.sendMeasured(parts);
    else this.status.notice('Too much was typed while disconnected. The rest is not kept.');
  }

  frame(message: ArrayBuffer): void {
    if (this.waitingSince !== null) this.waitingSince = Date.now();
    const frame = decodeServerFrame(message);
    switch (frame?.type) {
      case 'output':
        return this.output(frame.bytes);
      case 'snapshot':
        return this.snapshot(frame.bytes);
      case 'start':
        return this.start(frame.start);
      case 'resized':
        return this.view.inOrder(() => this.sizing.serverResized(frame.size));
      case 'inputAck':
        return this.confirmed(frame.offset);
      case 'presence':
        return this.present(frame.presence);
      case 'waiting':
        this.status.waiting(frame.text);
        return this.setStage(frame.stage);
      case 'tickets':
        return this.store.keepTickets(frame.ticket, frame.pageToken);
      case 'title':
        return this.status.title(frame.title);
      case 'deadline':
        return this.exit ? undefined : this.page.deadline(frame.deadline);
      case 'exit':
        return this.ended(frame.exit);
    }
  }

  private start(start: Start): void {
    this.role = start.role;
    this.view.setReadOnly(start.role === 'viewer');
    this.status.role(start.role);
    if (this.stream.drops(start)) this.status.notice('The program was started anew. What you typed for the earlier one was not sent.');
    const toSend = this.stream.start(start);
    this.sizing.startStream(start.role, start);
    if (start.mode === 'delta') this.view.inOrder(() => this.sizing.restore());
    else this.view.resetTo(start);
    this.sendInput(toSend);
    this.sentUnasked = toSend.length > 0;
    if (start.mode === 'snapshot' && start.lost > 0) this.page.lost(start.lost);
    if (this.stage === null) this.setStage('running');
    // Nothing to replay: the screen that is here is the present. A snapshot has yet to come.
    if (start.mode !== 'snapshot' && this.stream.caughtUp) this.view.inOrder(() => this.sizing.caughtUp());
  }

  /** The whole screen, in a terminal of the start's size: the page takes its own size behind it. */
  private snapshot(bytes: Uint8Array): void {
    this.status.hasOutput();
    this.view.write(bytes, true, () => {
      if (this.stream.caughtUp) this.sizing.caughtUp();
    });
  }

  private present(presence: Presence): void {
    const { sentUnasked } = this;
    this.sentUnasked = false;
    if (this.exit) return;
    this.presence = presence;
    const news = this.keyboard.update(presence, this.role);
    this.people.show(presence, this.role);
    this.page.changed();
    if (news) this.people.tell(news, sentUnasked ? 'What you typed meanwhile may have reached nobody.' : '');
    // Who answers the program's queries changes behind the output that came before.
    this.view.inOrder(() => this.sizing.keyboard(presence.holds));
  }

  private output(bytes: Uint8Array): void {
    this.status.hasOutput();
    if (this.wire !== TTY_R1) return this.stockOutput(bytes);
    for (const part of this.stream.output(bytes)) {
      this.view.write(part.bytes, part.replay, () => {
        const offset = this.stream.outputParsed(part);
        if (part.replay && this.stream.caughtUp) this.sizing.caughtUp();
        if (offset !== null) this.connection?.send(encodeAck(offset));
      });
    }
  }

  private stockOutput(bytes: Uint8Array): void {
    this.unparsed += bytes.length;
    if (!this.paused && this.unparsed > PAUSE_ABOVE) this.paused = this.connection?.send(PAUSE) ?? false;
    this.view.write(bytes, false, () => {
      this.unparsed -= bytes.length;
      if (this.paused && this.unparsed < RESUME_BELOW) this.paused = !(this.connection?.send(RESUME) ?? false);
    });
  }

  private ended(exit: Exit): void {
    this.exit = exit;
    this.connection?.noteExit();
    this.keyboard.stop();
    this.people.gone();
    this.page.deadline(null);
    this.setStage('ended');
    // The banner takes its place below the last output, not before it is there.
    this.view.inOrder(() => this.status.ended(exit));
    this.view.finish();
  }

  private confirmed(offset: number): void {
    this.stream.confirm(offset);
    if (!this.stream.unconfirmedInput) this.waitingSince = null;
    const milliseconds = this.latency.confirmed(offset, performance.now());
    if (milliseconds !== null) this.status.latency(milliseconds);
  }

  private setStage(stage: string): void {
    this.stage = stage;
    this.status.stage(stage);
  }

  private sendMeasured(parts: InputPart[]): void {
    this.sendInput(parts);
    const last = parts.at(-1);
    if (last) this.latency.sent(last.offset + last.bytes.length, performance.now());
  }

  private sendInput(parts: InputPart[]): void {
    for (const part of parts) {
      if (this.connection?.send(encodeInputAt(part.offset, part.bytes))) this.waitingSince ??= Date.now();
    }
  }
}
