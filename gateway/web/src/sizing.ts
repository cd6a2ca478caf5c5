// Who decides the terminal's size. The server does: on `tty.r1` this terminal always has the size that the stream says
// (`S`, `Z`), so it never shows a program's output at a width that the program did not draw for. An operator's page
// wishes for the size that fills it; where the wish is not granted, or for a viewer, the letters shrink instead.

import type { Role, Size } from './protocol';
import type { TerminalView } from './terminal';

/** A granted wish comes back within a round trip; after this the page takes it that another holds the size. */
const GRANT_MS = 1_500;
const SETTLE_MS = 100;

export class Sizing {
  private role: Role = 'operator';
  private serverSize: Size | null = null;
  private wish: Size | null = null;
  /** Off while the stream is replayed: its old sizes are no news. */
  private ready = false;
  private settle: ReturnType<typeof setTimeout> | null = null;
  private grant: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly view: TerminalView, private readonly sendResize: (size: Size) => void) {}

  /** Before a stream is known: the size for the hello. */
  proposed(): Size {
    const size = this.view.proposeSize();
    if (this.serverSize === null) this.view.term.resize(size.cols, size.rows);
    this.wish = size;
    return size;
  }

  /** A stock ttyd never says its size: the wish is the size. */
  startStock(): void {
    this.role = 'operator';
    this.serverSize = null;
    this.ready = true;
    this.view.answersQueries = true;
  }

  startStream(role: Role, size: Size): void {
    this.role = role;
    this.serverSize = size;
    this.ready = false;
    this.view.answersQueries = false;
  }

  /** The replay is on the screen: from here on sizes are the present's. */
  caughtUp(): void {
    this.ready = true;
    this.refit();
  }

  /** `Z`, at its place in the stream. */
  serverResized(size: Size): void {
    this.serverSize = size;
    this.view.term.resize(size.cols, size.rows);
    if (this.ready) this.settleOn(size);
  }

  /** The page's size changed, many times a second while a window is dragged. */
  pageResized(): void {
    if (this.settle !== null) clearTimeout(this.settle);
    this.settle = setTimeout(() => this.refit(), SETTLE_MS);
  }

  private refit(): void {
    if (!this.ready) return;
    if (this.role === 'viewer') {
      this.view.scaleToFit();
      return;
    }
    this.wish = this.view.proposeSize();
    if (this.serverSize === null) {
      this.view.term.resize(this.wish.cols, this.wish.rows);
      this.sendResize(this.wish);
    } else if (same(this.wish, this.serverSize)) {
      this.settleOn(this.serverSize);
    } else {
      this.sendResize(this.wish);
      this.watchGrant();
    }
  }

  private settleOn(size: Size): void {
    const granted = this.role === 'operator' && this.wish !== null && same(size, this.wish);
    this.view.answersQueries = granted;
    if (granted) {
      if (this.grant !== null) clearTimeout(this.grant);
      this.view.fillPage();
    } else if (this.role === 'viewer') {
      this.view.scaleToFit();
    } else {
      this.watchGrant();
    }
  }

  private watchGrant(): void {
    if (this.grant !== null) clearTimeout(this.grant);
    this.grant = setTimeout(() => {
      const granted = this.wish !== null && this.serverSize !== null && same(this.wish, this.serverSize);
      if (!granted) this.view.scaleToFit();
    }, GRANT_MS);
  }
}

function same(a: Size, b: Size): boolean {
  return a.cols === b.cols && a.rows === b.rows;
}
