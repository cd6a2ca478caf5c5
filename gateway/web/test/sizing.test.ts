// Who has the size: whoever has the keyboard, on this page or on another.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Size } from '../src/protocol';
import { Sizing, type SizedView } from '../src/sizing';

class FakeView implements SizedView {
  answersQueries = false;
  page: Size = { cols: 120, rows: 30 };
  size: Size = { cols: 0, rows: 0 };
  scaled = false;
  readonly term = { resize: (cols: number, rows: number) => void (this.size = { cols, rows }) };

  proposeSize(): Size {
    return this.page;
  }

  scaleToFit(): void {
    this.scaled = true;
  }

  fillPage(): void {
    this.scaled = false;
  }
}

let view: FakeView;
let sent: Size[];
let sizing: Sizing;

beforeEach(() => {
  vi.useFakeTimers();
  view = new FakeView();
  sent = [];
  sizing = new Sizing(view, (size) => sent.push(size));
});

const resizePage = (cols: number, rows: number) => {
  view.page = { cols, rows };
  sizing.pageResized();
};

/** A stream that is caught up, of a server that was greeted and has said whose the keyboard is. */
const enter = (holds: boolean, size: Size = { cols: 120, rows: 30 }) => {
  sizing.connected();
  sizing.proposed();
  sizing.startStream('operator', size);
  sizing.caughtUp();
  sizing.keyboard(holds);
};

describe('an operator with the keyboard', () => {
  it('greets with the size that fills the page', () => {
    expect(sizing.proposed()).toEqual({ cols: 120, rows: 30 });
    expect(view.size).toEqual({ cols: 120, rows: 30 });
  });

  it('gives the program its size once the replay is there, not in the middle of it', () => {
    sizing.startStream('operator', { cols: 80, rows: 24 });
    sizing.keyboard(true);
    sizing.serverResized({ cols: 90, rows: 25 });
    expect(view.size).toEqual({ cols: 90, rows: 25 });
    expect(sent).toEqual([]);
    sizing.caughtUp();
    expect(sent).toEqual([{ cols: 120, rows: 30 }]);
    expect(view).toMatchObject({ answersQueries: true, scaled: false, size: { cols: 120, rows: 30 } });
  });

  it('does nothing before it knows that it has it', () => {
    sizing.startStream('operator', { cols: 80, rows: 24 });
    sizing.caughtUp();
    expect(sent).toEqual([]);
    expect(view).toMatchObject({ answersQueries: false, size: { cols: 0, rows: 0 } });
  });

  it('sends nothing where the size is right already', () => {
    enter(true);
    expect(sent).toEqual([]);
    expect(view.answersQueries).toBe(true);
  });

  it('sends the last of many changes', () => {
    enter(true);
    resizePage(119, 30);
    resizePage(100, 20);
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 100, rows: 20 }]);
  });

  it('shows a size that is not its own whole, and then gives the program its own again', () => {
    enter(true);
    sizing.serverResized({ cols: 60, rows: 20 });
    expect(view).toMatchObject({ answersQueries: true, scaled: true, size: { cols: 60, rows: 20 } });
    vi.runAllTimers();
    expect(view).toMatchObject({ answersQueries: true, scaled: false, size: { cols: 120, rows: 30 } });
    expect(sent).toEqual([{ cols: 120, rows: 30 }]);
  });

  it('of a stock server resizes at once', () => {
    sizing.startStock();
    resizePage(100, 20);
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 100, rows: 20 }]);
    expect(view.size).toEqual({ cols: 100, rows: 20 });
  });
});

describe('an operator without the keyboard', () => {
  it('scales what it sees, and leaves the program’s queries to whoever has it', () => {
    enter(false, { cols: 60, rows: 20 });
    expect(sent).toEqual([]);
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
    sizing.serverResized({ cols: 200, rows: 50 });
    expect(view).toMatchObject({ answersQueries: false, scaled: true, size: { cols: 200, rows: 50 } });
  });

  it('tells what it has room for, once, and keeps the other’s size', () => {
    enter(false, { cols: 60, rows: 20 });
    resizePage(110, 30);
    vi.runAllTimers();
    sizing.pageResized();
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 110, rows: 30 }]);
    expect(view).toMatchObject({ scaled: true, size: { cols: 120, rows: 30 } });
  });

  it('asks for a keyboard that nobody has with its size', () => {
    enter(false, { cols: 60, rows: 20 });
    sizing.claim();
    expect(sent).toEqual([{ cols: 120, rows: 30 }]);
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
  });

  it('fills the page when it gets the keyboard, and gives that up when it loses it', () => {
    enter(false, { cols: 60, rows: 20 });
    sizing.keyboard(true);
    expect(sent).toEqual([{ cols: 120, rows: 30 }]);
    expect(view).toMatchObject({ answersQueries: true, scaled: false, size: { cols: 120, rows: 30 } });
    sizing.keyboard(false);
    expect(view).toMatchObject({ answersQueries: false, scaled: true });
    sizing.claim();
    expect(sent).toHaveLength(2);
  });
});

describe('a viewer', () => {
  it('never sends a size nor answers, and scales what it sees', () => {
    sizing.startStream('viewer', { cols: 80, rows: 24 });
    sizing.caughtUp();
    sizing.keyboard(false);
    sizing.claim();
    resizePage(40, 10);
    vi.runAllTimers();
    sizing.serverResized({ cols: 200, rows: 50 });
    expect(sent).toEqual([]);
    expect(sizing.proposed()).toBeNull();
    expect(view).toMatchObject({ answersQueries: false, scaled: true, size: { cols: 200, rows: 50 } });
  });
});
