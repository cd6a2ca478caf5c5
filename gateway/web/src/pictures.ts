// Pictures in the terminal, as sixels or in iTerm's sequence. What decodes and draws them is loaded when the first one
// comes: until it is there the stream waits, so that this first one is drawn too.

import type { Terminal } from '@xterm/xterm';

/** Decoded pictures that are kept, in megabytes; the oldest go first. */
const KEPT_MB = 64;
/** A stream does not wait longer for its pictures: the network may be gone. */
const LOAD_MS = 5_000;
const READY_LOOK_MS = 5;
/** VT220 with sixels, selective erase and colours: what the add-on says of itself once it is loaded. */
const DEVICE_ATTRIBUTES = '\x1b[?62;4;9;22c';

const ESC = 0x1b;
const ITERM = ']1337;';

export class Pictures {
  private loading: Promise<void> | null = null;
  private done = false;

  constructor(private readonly term: Terminal, private readonly load: (term: Terminal) => Promise<void> = loadAddon) {
    // A program asks for this before it draws, and it is true: whatever it draws then is what has the add-on loaded.
    term.parser.registerCsiHandler({ final: 'c' }, ([parameter]) => {
      if (parameter === 0) term.input(DEVICE_ATTRIBUTES, false);
      return true;
    });
  }

  /** What has to be waited for before these bytes are written, because a picture begins in them. */
  awaited(bytes: Uint8Array): Promise<void> | null {
    if (this.done || !mayBeginPicture(bytes)) return null;
    this.loading ??= this.loadInTime();
    return this.loading;
  }

  private async loadInTime(): Promise<void> {
    const late = new Promise<void>((resolve) => setTimeout(resolve, LOAD_MS));
    // Without it the stream goes on without pictures, as in a terminal that knows none.
    await Promise.race([this.load(this.term).catch(() => {}), late]);
    this.done = true;
  }
}

/**
 * Whether a sixel picture (`ESC P parameters q`) or an iTerm one (`ESC ] 1337 ;`) begins here, or may begin here and go on
 * in what comes next: what is written up to there could not be taken back.
 */
export function mayBeginPicture(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(ESC); at !== -1; at = bytes.indexOf(ESC, at + 1)) {
    if (isSixel(bytes, at + 1) || isIterm(bytes, at + 1)) return true;
  }
  return false;
}

function isSixel(bytes: Uint8Array, from: number): boolean {
  if (from < bytes.length && bytes[from] !== 0x50) return false;
  for (let at = from + 1; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === 0x71) return true;
    const parameter = (byte >= 0x30 && byte <= 0x39) || byte === 0x3b;
    if (!parameter) return false;
  }
  return true;
}

function isIterm(bytes: Uint8Array, from: number): boolean {
  const length = Math.min(ITERM.length, bytes.length - from);
  for (let at = 0; at < length; at++) {
    if (bytes[from + at] !== ITERM.charCodeAt(at)) return false;
  }
  return true;
}

async function loadAddon(term: Terminal): Promise<void> {
  const { ImageAddon } = await import('@xterm/addon-image');
  const addon = new ImageAddon({ storageLimit: KEPT_MB, enableSizeReports: false });
  term.loadAddon(addon);
  for (const deadline = Date.now() + LOAD_MS; !canDecode(addon) && Date.now() < deadline; ) {
    await new Promise((next) => setTimeout(next, READY_LOOK_MS));
  }
}

/** The add-on compiles its decoder behind our back, and passes over what comes before. A private field of the pinned version. */
function canDecode(addon: object): boolean {
  const { _handlers } = addon as { _handlers?: Map<string, { _dec?: unknown }> };
  return _handlers?.get('sixel')?._dec !== undefined;
}
