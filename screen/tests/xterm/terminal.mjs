// The reference terminal, set up as the page sets up its own, and all of its state as plain data.

import headless from '@xterm/headless';

// With node's Buffer the addon reads its table from the wrong place, and knows no emoji. In a page it has no Buffer.
const { Buffer } = globalThis;
delete globalThis.Buffer;
const { default: addon } = await import('@xterm/addon-unicode-graphemes');
globalThis.Buffer = Buffer;

const AS_SHIPPED = process.argv.includes('--as-shipped');
const PLAIN = '0- 0-';
const RESTORE = 2;
const SET = 1;

export function reference(cols, rows, scrollback) {
  const terminal = new headless.Terminal({ cols, rows, scrollback, allowProposedApi: true, logLevel: 'off' });
  terminal.loadAddon(new addon.UnicodeGraphemesAddon());
  return terminal;
}

/** A reference terminal that is written to in pieces. */
export class Reference {
  constructor(cols, rows, scrollback) {
    this.terminal = reference(cols, rows, scrollback);
    this.core = this.terminal._core;
    this.colours = {};
    this.answers = '';
    this.held = Buffer.alloc(0);
    this.terminal.onData((data) => (this.answers += data));
    this.core._inputHandler.onColor((requests) => requests.forEach((request) => this.colour(request)));
    if (!AS_SHIPPED) {
      keepBuffersInSize(this.core.buffers.alt);
      keepClustersInPlace(this.core.buffers.normal.lines.get(0));
    }
    // xterm.js forgets a link's address with the line that its marker is on, though cells elsewhere may still have it.
    this.core._oscLinkService._removeMarkerFromLink = () => {};
  }

  /** What the page's terminal does with colours; the headless one leaves it to its user. */
  colour({ type, index, color }) {
    if (type === SET) this.colours[index] = color.join(',');
    else if (type === RESTORE && index !== undefined) delete this.colours[index];
    else if (type === RESTORE) for (let at = 0; at < 256; at++) delete this.colours[at];
  }

  /** Writes whole characters only: xterm.js loses one cut after a byte of 0x80, such as any of U+2000 to U+203F. */
  write(bytes) {
    const all = Buffer.concat([this.held, bytes]);
    let end = all.length;
    for (let back = 1; back <= Math.min(3, all.length); back++) {
      const byte = all[all.length - back];
      if (byte < 0x80) break;
      if (byte >= 0xc0) {
        const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
        if (length > back && byte < 0xf8) end = all.length - back;
        break;
      }
    }
    this.held = all.subarray(end);
    this.core.writeSync(all.subarray(0, end));
  }

  state() {
    const { core } = this;
    const { normal, alt, active } = core.buffers;
    const input = core._inputHandler;
    const join = input._parser.precedingJoinState;
    const { cols, rows } = core;
    return {
      size: [cols, rows],
      screen: active === alt ? 'alternate' : 'main',
      cursor: [active.x, active.y],
      main: this.buffer(normal),
      alternate: active === alt ? this.buffer(alt) : null,
      pen: this.pen(input._curAttrData),
      charsets: [core._charsetService.charset, ...[0, 1, 2, 3].map((g) => core._charsetService._charsets[g])].map(charset),
      level: core._charsetService.glevel,
      modes: { ...core.coreService.decPrivateModes, ...core.coreService.modes },
      hidden: core.coreService.isCursorHidden,
      newline: core.optionsService.options.convertEol,
      blink: core.optionsService.options.cursorBlink,
      mouse: [core.coreMouseService.activeProtocol, core.coreMouseService.activeEncoding],
      title: input._windowTitle,
      icon: input._iconName,
      colours: this.colours,
      parser: input._parser.currentState,
      join: join === 0 ? 0 : [(join >> 1) & 3, (join >> 3) & 0xf],
    };
  }

  buffer(buffer) {
    const { cols, rows } = this.core;
    const lines = [];
    for (let y = 0; y < buffer.lines.length; y++) lines.push(this.line(buffer.lines.get(y), cols));
    return {
      row: buffer.y,
      base: buffer.ybase,
      region: [buffer.scrollTop, buffer.scrollBottom],
      tabs: Object.keys(buffer.tabs).map(Number).filter((tab) => tab < cols && buffer.tabs[tab]),
      // Above the screen is its first row; so restoring takes it.
      saved: [Math.min(buffer.savedX, cols - 1), Math.max(buffer.savedY - buffer.ybase, 0)],
      savedPen: words(buffer.savedCurAttrData.fg, buffer.savedCurAttrData.bg),
      savedCharset: charset(buffer.savedCharset),
      lines,
      rows,
    };
  }

  line(line, cols) {
    const cells = [];
    for (let x = 0; x < cols; x++) {
      const width = line.getWidth(x);
      const text = line.getString(x);
      const look = this.look(line.getFg(x), line.getBg(x), line._extendedAttrs[x]);
      if (width === 1 && text === '' && look === PLAIN) continue;
      cells.push(`${x}:${JSON.stringify(text)}/${width} ${look}`);
    }
    return `${line.isWrapped ? '+' : ' '}${cells.join(' | ')}`;
  }

  /** What a cell looks like: an underline or a link counts where it shows. */
  look(fg, bg, extended) {
    const marked = bg & 0x10000000 ? extended : undefined;
    const style = fg & 0x10000000 ? (marked ? marked.underlineStyle : 1) : 0;
    const link = marked?.urlId ? this.core._oscLinkService.getLinkData(marked.urlId) : undefined;
    const parts = [words(fg & ~0x10000000, bg & ~0x10000000)];
    if (style) parts.push(`underline ${style} ${marked ? colour(marked.underlineColor) : '-'}`);
    if (link) parts.push(`link ${link.id ?? ''} ${link.uri}`);
    return parts.join(' ');
  }

  pen({ fg, bg, extended }) {
    const link = extended.urlId ? this.core._oscLinkService.getLinkData(extended.urlId) : undefined;
    const look = this.look(fg, bg, extended);
    return `${look}; then ${(extended._ext >> 26) & 7} ${colour(extended.underlineColor)} ${link ? link.uri : ''}`;
  }
}

/**
 * A narrower terminal keeps its tab stops beyond the edge, for when it is wider again.
 *
 * A narrower terminal's alternate screen keeps what was cut off beyond its edge: a deleted character pulls it in, and a
 * wider terminal shows it again. No sequence could bring a terminal there, and programs repaint after a resize anyway.
 *
 * An alternate screen that is not shown while the terminal gets fewer rows keeps room for the old number of lines, and
 * then collects a scrollback, which it should not have. A reset mends that, so a snapshot does.
 */
function keepBuffersInSize(alternate) {
  const prototype = Object.getPrototypeOf(alternate);
  if (prototype.resizeAsShipped) return;
  prototype.resizeAsShipped = prototype.resize;
  const setupTabStops = prototype.setupTabStops;
  prototype.setupTabStops = function (from) {
    if (from !== undefined) for (const tab of Object.keys(this.tabs)) if (Number(tab) >= this._cols) delete this.tabs[tab];
    setupTabStops.call(this, from);
  };
  prototype.resize = function (cols, rows) {
    this.resizeAsShipped(cols, rows);
    if (this._hasScrollback) return;
    if (this.lines.length === 0) this.lines.maxLength = rows;
    for (let at = 0; at < this.lines.length; at++) this.lines.get(at).resize(cols, this.getNullCell());
  };
}

/**
 * Moving cells between lines takes along the clusters of cells that were not moved, even of ones long overwritten (a
 * FIXME of xterm.js), so that what a reflow shows depends on what was there before.
 */
function keepClustersInPlace(line) {
  Object.getPrototypeOf(line).copyCellsFrom = function (source, from, to, count) {
    const cells = Array.from({ length: count }, (_, at) => source.loadCell(from + at, {}));
    cells.forEach((cell, at) => this.setCell(to + at, cell));
  };
}

function words(fg, bg) {
  return `${flags(fg)}${colour(fg)} ${flags(bg)}${colour(bg)}`;
}

function flags(word) {
  return (word >>> 26).toString(16);
}

function colour(word) {
  switch ((word >> 24) & 3) {
    case 0:
      return '-';
    case 3:
      return `#${(word & 0xffffff).toString(16)}`;
    default:
      return `${(word >> 24) & 3}p${word & 0xff}`;
  }
}

function charset(charset) {
  return charset === undefined ? '' : JSON.stringify(charset);
}
