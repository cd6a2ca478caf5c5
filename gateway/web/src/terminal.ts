// xterm.js and its add-ons: what is written, in which order resets and resizes happen, which of its data is typed and
// which is an answer to a program's query, and how large its letters are. It knows nothing of connections.

import { FitAddon } from '@xterm/addon-fit';
import { UnicodeGraphemesAddon } from '@xterm/addon-unicode-graphemes';
import { WebLinksAddon } from '@xterm/addon-web-links';
import { Terminal, type ITheme } from '@xterm/xterm';
import { Pictures } from './pictures';
import { writeInPieces } from './pieces';
import type { Size } from './protocol';
import { chooseRenderer } from './renderer';
import { userInputOf } from './user-input';

const FONT = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
const MIN_FONT_PX = 3;
const SCALING_LOOKS = 6;
const CAN = '\x18';
/** xterm.js gives them as it gives typed text. */
const MOUSE_REPORT = /^\x1b\[[<M]/;

export interface TerminalEvents {
  /** Bytes for the program: `typed` with keys or pasted; else what a mouse did, or an answer that it may have. */
  onInput: (bytes: Uint8Array, typed: boolean) => void;
  onSelection: (selected: boolean) => void;
  onTitle: (title: string) => void;
  /** The address that the pointer is on, to be shown before it is opened; null when it has left. */
  onLinkHover: (uri: string | null) => void;
}

export class TerminalView {
  readonly term: Terminal;
  /** Whether this terminal is the one that answers the program's queries. */
  answersQueries = false;
  /** Changes typed text on its way, for the touch keys' Ctrl. */
  typedFilter: (text: string) => string = (text) => text;
  private readonly fit = new FitAddon();
  /** For each write that is not parsed yet, whether it is a replay. The first is the one that is being parsed. */
  private readonly pending: boolean[] = [];
  private typing = false;
  private readonly pictures: Pictures;
  /** Writes that wait for what draws pictures; null while none has to. */
  private held: (() => void)[] | null = null;

  constructor(private readonly host: HTMLElement, private readonly events: TerminalEvents, private baseFontPx: number) {
    this.term = new Terminal({
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: FONT,
      fontSize: this.baseFontPx,
      scrollback: 10_000,
      macOptionIsMeta: true,
      rightClickSelectsWord: false,
      // How large a picture may be drawn is asked for in pixels.
      windowOptions: { getWinSizePixels: true, getCellSizePixels: true, getWinSizeChars: true },
      // WCAG AA, whatever colours a program chose for a background that it does not know.
      minimumContrastRatio: 4.5,
      linkHandler: {
        activate: (_event, uri) => openLink(uri),
        hover: (_event, uri) => events.onLinkHover(uri),
        leave: () => events.onLinkHover(null),
      },
    });
    this.pictures = new Pictures(this.term);
    this.loadAddons();
    this.term.open(host);
    chooseRenderer(this.term, host);
    this.listen();
  }

  focus(): void {
    this.term.focus();
  }

  setTheme(theme: ITheme): void {
    this.term.options.theme = theme;
  }

  /** The usual size of letters. Whoever decides the terminal's size has to look at it again. */
  setFont(px: number): void {
    this.baseFontPx = px;
  }

  /** What is printed is also text in the page, which a screen reader speaks. */
  setScreenReader(on: boolean): void {
    this.term.options.screenReaderMode = on;
  }

  /** Whether what the program asks of a terminal is asked of this one, here and now. */
  get isAsked(): boolean {
    return this.answersQueries && this.pending[0] !== true;
  }

  /** Whether the last bytes to come are on the screen. */
  get drained(): boolean {
    return this.pending.length === 0 && this.held === null;
  }

  write(bytes: Uint8Array | string, replay: boolean, parsed: () => void = () => {}): void {
    const awaited = this.held === null && typeof bytes !== 'string' ? this.pictures.awaited(bytes) : null;
    if (awaited) {
      this.held = [];
      void awaited.then(() => this.release());
    }
    if (this.held) this.held.push(() => this.put(bytes, replay, parsed));
    else this.put(bytes, replay, parsed);
  }

  private release(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const write of held) write();
  }

  private put(bytes: Uint8Array | string, replay: boolean, parsed: () => void): void {
    this.pending.push(replay);
    writeInPieces(this.term, bytes, () => {
      this.pending.shift();
      parsed();
    });
  }

  /** Does something at its place in the stream: behind what has been written so far, before what comes next. */
  inOrder(action: () => void): void {
    this.write('', false, action);
  }

  /** An empty terminal of this size. CAN ends a half-written escape sequence, which a reset would leave open. */
  resetTo(size: Size): void {
    this.write(CAN, true, () => {
      this.term.reset();
      this.term.resize(size.cols, size.rows);
    });
  }

  setReadOnly(readOnly: boolean): void {
    this.term.options.disableStdin = readOnly;
    this.term.options.cursorBlink = !readOnly;
  }

  /** The program is over: no cursor waits for anybody any more. */
  finish(): void {
    this.setReadOnly(true);
    this.write('\x1b[?25l', true);
  }

  /** The size that fills the page with letters of the usual size. */
  proposeSize(): Size {
    this.term.options.fontSize = this.baseFontPx;
    const fitting = this.fit.proposeDimensions();
    return { cols: fitting?.cols ?? this.term.cols, rows: fitting?.rows ?? this.term.rows };
  }

  /** Shows a size that somebody else holds: letters small enough for all of it, never larger than usual. */
  scaleToFit(): void {
    this.host.classList.add('letterboxed');
    this.term.options.fontSize = this.baseFontPx;
    // Cells are whole device pixels wide, so the first answer may be a little too large still.
    for (let look = 0; look < SCALING_LOOKS; look++) {
      const room = this.room();
      if (room >= 1) return;
      const font = this.term.options.fontSize ?? this.baseFontPx;
      const smaller = Math.min(Math.floor(font * room * 4) / 4, font - 0.25);
      this.term.options.fontSize = Math.max(MIN_FONT_PX, smaller);
    }
  }

  /** How much of the terminal the page has room for; 1 and above is all of it. */
  private room(): number {
    const screen = this.host.querySelector('.xterm-screen')?.getBoundingClientRect();
    if (!screen || screen.width === 0 || this.host.clientWidth === 0) return 1;
    return Math.min(this.host.clientWidth / screen.width, this.host.clientHeight / screen.height);
  }

  fillPage(): void {
    this.host.classList.remove('letterboxed');
    this.term.options.fontSize = this.baseFontPx;
  }

  get letterboxed(): boolean {
    return this.host.classList.contains('letterboxed');
  }

  private loadAddons(): void {
    this.term.loadAddon(this.fit);
    this.term.loadAddon(new UnicodeGraphemesAddon());
    this.term.loadAddon(
      new WebLinksAddon((_event, uri) => openLink(uri), {
        hover: (_event, uri) => this.events.onLinkHover(uri),
        leave: () => this.events.onLinkHover(null),
      }),
    );
  }

  private listen(): void {
    const utf8 = new TextEncoder();
    // xterm's public onData does not tell typed text from answers to queries; the service behind it does, just before.
    userInputOf(this.term)(() => (this.typing = true));
    this.term.onData((text) => {
      const typed = this.typing;
      this.typing = false;
      if (typed) this.events.onInput(utf8.encode(this.typedFilter(text)), !MOUSE_REPORT.test(text));
      else if (this.isAsked) this.events.onInput(utf8.encode(text), false);
    });
    // Mouse reports in the old encoding: one byte per character.
    this.term.onBinary((text) => this.events.onInput(Uint8Array.from(text, (char) => char.charCodeAt(0)), false));
    this.term.onSelectionChange(() => this.events.onSelection(this.term.hasSelection()));
    this.term.onTitleChange((title) => this.events.onTitle(title));
  }
}

/** Only web addresses, in a tab that cannot reach back. */
function openLink(uri: string): void {
  if (/^https?:\/\//i.test(uri)) window.open(uri, '_blank', 'noopener,noreferrer');
}
