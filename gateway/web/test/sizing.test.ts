// Who has the size: an operator's page, another operator, or nobody here.
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

describe('an operator', () => {
  it('greets with the size that fills the page', () => {
    expect(sizing.proposed()).toEqual({ cols: 120, rows: 30 });
    expect(view.size).toEqual({ cols: 120, rows: 30 });
  });

  it('takes the size over once the replay is there, not in the middle of it', () => {
    sizing.startStream('operator', { cols: 80, rows: 24 });
    sizing.serverResized({ cols: 90, rows: 25 });
    expect(view.size).toEqual({ cols: 90, rows: 25 });
    expect(sent).toEqual([]);
    sizing.caughtUp();
    expect(sent).toEqual([{ cols: 120, rows: 30 }]);
    expect(view).toMatchObject({ answersQueries: true, scaled: false, size: { cols: 120, rows: 30 } });
  });

  it('sends nothing where the size is right already', () => {
    sizing.startStream('operator', { cols: 120, rows: 30 });
    sizing.caughtUp();
    expect(sent).toEqual([]);
    expect(view.answersQueries).toBe(true);
  });

  it('sends the last of many changes', () => {
    sizing.startStream('operator', { cols: 120, rows: 30 });
    sizing.caughtUp();
    resizePage(119, 30);
    resizePage(100, 20);
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 100, rows: 20 }]);
  });

  it('follows another operator’s resize and leaves the program’s queries to them, until it resizes itself', () => {
    sizing.startStream('operator', { cols: 120, rows: 30 });
    sizing.caughtUp();
    sizing.serverResized({ cols: 60, rows: 20 });
    expect(view).toMatchObject({ answersQueries: false, scaled: true, size: { cols: 60, rows: 20 } });
    resizePage(110, 30);
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 110, rows: 30 }]);
    expect(view).toMatchObject({ answersQueries: true, scaled: false });
  });

  it('of a stock server resizes at once', () => {
    sizing.startStock();
    resizePage(100, 20);
    vi.runAllTimers();
    expect(sent).toEqual([{ cols: 100, rows: 20 }]);
    expect(view.size).toEqual({ cols: 100, rows: 20 });
  });
});

describe('a viewer', () => {
  it('never sends a size nor answers, and scales what it sees', () => {
    sizing.startStream('viewer', { cols: 80, rows: 24 });
    sizing.caughtUp();
    resizePage(40, 10);
    vi.runAllTimers();
    sizing.serverResized({ cols: 200, rows: 50 });
    expect(sent).toEqual([]);
    expect(sizing.proposed()).toBeNull();
    expect(view).toMatchObject({ answersQueries: false, scaled: true, size: { cols: 200, rows: 50 } });
  });
});
