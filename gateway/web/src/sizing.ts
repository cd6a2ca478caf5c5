// Who decides the terminal's size. The last operator who resized does, and the stream says so to everybody else (`S`,
// `Z`). An operator's page fills itself and tells the server; a viewer, and an operator whose size another one changed,
// shows all of the other's terminal with smaller letters.

import type { Role, Size } from './protocol';
import type { TerminalView } from './terminal';

/** A window that is dragged changes its size many times a second; the program hears of the last. */
const SETTLE_MS = 100;

export type SizedView = Pick<TerminalView, 'proposeSize' | 'scaleToFit' | 'fillPage' | 'answersQueries'> & {
  readonly term: { resize(cols: number, rows: number): void };
};

export class Sizing {
  private role: Role = 'operator';
  /** The program's; unknown before a stream is. */
  private current: Size | null = null;
  /** Off while the stream is replayed: its old sizes are shown, but are no news. */
  private ready = false;
  private settle: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly view: SizedView, private readonly sendResize: (size: Size) => void) {}

  /** For the hello, and for the page before it. A viewer follows, and proposes nothing. */
  proposed(): Size | null {
    if (this.role === 'viewer') return null;
    const size = this.view.proposeSize();
    if (this.current === null) this.view.term.resize(size.cols, size.rows);
    return size;
  }

  /** A stock ttyd has one client and never says a size: the page's is the program's. */
  startStock(): void {
    this.role = 'operator';
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

  /** The replay is on the screen. */
  caughtUp(): void {
    this.ready = true;
    this.refit();
  }

  /** `Z`, at its place in the stream: somebody else's resize. */
  serverResized(size: Size): void {
    this.current = size;
    this.view.term.resize(size.cols, size.rows);
    if (!this.ready) return;
    if (this.role === 'operator' && same(size, this.view.proposeSize())) this.hold();
    else this.follow();
  }

  pageResized(): void {
    if (this.settle !== null) clearTimeout(this.settle);
    this.settle = setTimeout(() => this.refit(), SETTLE_MS);
  }

  private refit(): void {
    if (!this.ready) {
      this.proposed();
      return;
    }
    if (this.role === 'viewer') {
      this.follow();
      return;
    }
    const size = this.view.proposeSize();
    if (this.current === null || !same(size, this.current)) {
      this.current = size;
      this.view.term.resize(size.cols, size.rows);
      this.sendResize(size);
    }
    this.hold();
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
