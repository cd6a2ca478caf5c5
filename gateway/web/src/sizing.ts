// Who decides the terminal's size: whoever has the keyboard. That operator's page fills itself and tells the server;
// everybody else's shows all of the other's terminal with smaller letters (`S`, `Z`), and an operator's tells what it
// has room for, for when it gets the keyboard.

import type { Role, Size } from './protocol';
import type { TerminalView } from './terminal';

/** A window that is dragged changes its size many times a second; the program hears of the last. */
const SETTLE_MS = 100;

export type SizedView = Pick<TerminalView, 'proposeSize' | 'scaleToFit' | 'fillPage' | 'answersQueries'> & {
  readonly term: { resize(cols: number, rows: number): void };
};

export class Sizing {
  private role: Role = 'operator';
  /** Whether this page has the keyboard; unknown between a connection's start and the server's first word on it. */
  private holds: boolean | null = null;
  /** The program's; unknown before a stream is. */
  private current: Size | null = null;
  /** What the server was told last that this page has room for. */
  private told: Size | null = null;
  /** Off while the stream is replayed: its old sizes are shown, but are no news. */
  private ready = false;
  private settle: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly view: SizedView, private readonly sendResize: (size: Size) => void) {}

  /** For the hello. A viewer follows, and proposes nothing. */
  proposed(): Size | null {
    if (this.role === 'viewer') return null;
    this.told = this.view.proposeSize();
    if (this.current === null) this.view.term.resize(this.told.cols, this.told.rows);
    else if (this.holds === false) this.view.scaleToFit();
    return this.told;
  }

  /** A connection is made, and has yet to hear whose the keyboard is. */
  connected(): void {
    this.holds = null;
  }

  /** A stock ttyd has one client and never says a size: the page's is the program's. */
  startStock(): void {
    this.role = 'operator';
    this.holds = true;
    this.current = null;
    this.ready = true;
    this.view.answersQueries = true;
  }

  /** `S`: the size at the place where the stream is taken up. */
  startStream(role: Role, size: Size): void {
    this.role = role;
    this.current = size;
    this.ready = false;
    this.view.answersQueries = false;
  }

  /** The terminal gets the size that was said last: for a stream that goes on in a terminal which was kept. */
  restore(): void {
    if (this.current) this.view.term.resize(this.current.cols, this.current.rows);
  }

  /** The replay is on the screen. */
  caughtUp(): void {
    this.ready = true;
    this.refit();
  }

  /** `P`, behind the output that came before it. */
  keyboard(holds: boolean): void {
    if (this.holds === holds) return;
    this.holds = holds;
    if (this.ready) this.refit();
  }

  /** Asks for the keyboard that nobody has, by telling a size. */
  claim(): void {
    if (!this.ready || this.role === 'viewer' || this.holds !== false) return;
    this.told = null;
    this.refit();
  }

  /** `Z`, at its place in the stream: a resize that this page did not ask for. */
  serverResized(size: Size): void {
    this.current = size;
    this.view.term.resize(size.cols, size.rows);
    if (!this.ready) return;
    if (this.holds !== true) return this.follow();
    if (same(size, this.view.proposeSize())) return this.hold();
    // From before the server knew this page's own size, which may be on its way, or may never come, because the server
    // believes it known here. What the program asks meanwhile is this page's to answer all the same.
    this.view.scaleToFit();
    this.pageResized();
  }

  pageResized(): void {
    if (this.settle !== null) clearTimeout(this.settle);
    this.settle = setTimeout(() => this.refit(), SETTLE_MS);
  }

  private refit(): void {
    if (!this.ready) {
      if (this.current === null) this.fillUnasked();
    } else if (this.role === 'viewer') {
      this.follow();
    } else if (this.holds !== null) {
      const size = this.view.proposeSize();
      if (this.holds) this.lead(size);
      else this.tell(size);
    }
  }

  /** Nothing is known of a program yet. */
  private fillUnasked(): void {
    const size = this.view.proposeSize();
    this.view.term.resize(size.cols, size.rows);
  }

  private lead(size: Size): void {
    if (this.current === null || !same(size, this.current)) {
      this.current = size;
      this.view.term.resize(size.cols, size.rows);
      this.told = size;
      this.sendResize(size);
    }
    this.hold();
  }

  private tell(size: Size): void {
    if (this.told === null || !same(size, this.told)) {
      this.told = size;
      this.sendResize(size);
    }
    this.follow();
  }

  /** This page has the size, and with it the one terminal that answers the program's queries. */
  private hold(): void {
    this.view.answersQueries = true;
    this.view.fillPage();
  }

  private follow(): void {
    this.view.answersQueries = false;
    this.view.scaleToFit();
  }
}

function same(a: Size, b: Size): boolean {
  return a.cols === b.cols && a.rows === b.rows;
}
