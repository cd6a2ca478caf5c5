//! The main or the alternate screen: its lines with the scrollback above them, the cursor, the scroll region, the tab
//! stops and the saved cursor, all of which xterm.js keeps for each of the two.

use std::collections::{BTreeSet, VecDeque};

use crate::attributes::Pen;
use crate::charsets::Charset;
use crate::line::Line;

const TAB_WIDTH: usize = 8;

/// What DECSC keeps. xterm.js saves neither origin mode nor the underline's style nor the link.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Saved {
    pub x: usize,
    /// Counted from the first line of the scrollback, so that it moves with the text.
    pub y: usize,
    pub fg: u32,
    pub bg: u32,
    pub charset: Charset,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    /// Scrollback first. Empty for an alternate screen that is not shown.
    pub lines: VecDeque<Line>,
    /// Lines kept, the screen's included.
    pub max_lines: usize,
    /// Lines of scrollback; `None` for the alternate screen, which has none and does not reflow.
    pub scrollback: Option<usize>,
    pub cols: usize,
    pub rows: usize,
    /// The line that is the screen's first.
    pub base: usize,
    /// `cols` when the next character will wrap.
    pub x: usize,
    pub y: usize,
    pub top: usize,
    pub bottom: usize,
    pub tabs: BTreeSet<usize>,
    pub saved: Saved,
    /// The lines that left at the top, for whoever wants them.
    pub departed: Option<Vec<Line>>,
}

impl Buffer {
    pub fn new(cols: usize, rows: usize, scrollback: Option<usize>) -> Self {
        let mut buffer = Self {
            lines: VecDeque::new(),
            max_lines: rows + scrollback.unwrap_or(0),
            scrollback,
            cols,
            rows,
            base: 0,
            x: 0,
            y: 0,
            top: 0,
            bottom: rows - 1,
            tabs: BTreeSet::new(),
            saved: Saved::default(),
            departed: None,
        };
        buffer.reset_tabs();
        buffer
    }

    /// Lines for the whole screen, where there are none.
    pub fn fill(&mut self, fill: &Pen) {
        if self.lines.is_empty() {
            self.lines.extend((0..self.rows).map(|_| Line::new(self.cols, fill, false)));
        }
    }

    /// Forgets all but the saved cursor.
    pub fn clear(&mut self) {
        self.lines.clear();
        (self.base, self.x, self.y, self.top, self.bottom) = (0, 0, 0, 0, self.rows - 1);
        self.max_lines = self.rows + self.scrollback.unwrap_or(0);
        self.reset_tabs();
    }

    fn reset_tabs(&mut self) {
        self.tabs = (0..self.cols).step_by(TAB_WIDTH).collect();
    }

    /// The tab stops of a screen that nobody set any in.
    pub fn default_tabs(&self) -> impl Iterator<Item = usize> {
        (0..self.cols).step_by(TAB_WIDTH)
    }

    /// Line `y` of the screen.
    pub fn line(&mut self, y: usize) -> &mut Line {
        &mut self.lines[self.base + y]
    }

    pub fn cursor_line(&mut self) -> &mut Line {
        self.line(self.y)
    }

    /// Scrolls the region by one, into the scrollback where it begins at the screen's top.
    pub fn scroll(&mut self, fill: &Pen, wrapped: bool) {
        let (top, bottom) = (self.base + self.top, self.base + self.bottom);
        if self.top > 0 {
            let mut line = self.lines.remove(top).expect("the region lies within the screen");
            line.renew(self.cols, fill, wrapped);
            self.lines.insert(bottom, line);
            return;
        }
        let full = self.lines.len() == self.max_lines;
        let mut line = match full {
            true => {
                let line = self.lines.pop_front().expect("a screen has at least one line");
                if let Some(departed) = &mut self.departed {
                    departed.push(line.clone());
                }
                line
            }
            false => Line::new(0, &Pen::default(), false),
        };
        line.renew(self.cols, fill, wrapped);
        let bottom = if full { bottom } else { bottom + 1 };
        if !full {
            self.base += 1;
        }
        if bottom >= self.lines.len() {
            self.lines.push_back(line);
        } else {
            self.lines.insert(bottom, line);
        }
        if self.base > 0 {
            self.lines[self.base - 1].rest();
        }
    }

    /// `count` times, takes out line `remove` of the screen and puts a blank one in at `insert`.
    pub fn rotate(&mut self, remove: usize, insert: usize, count: usize, fill: &Pen) {
        // After as many as the screen has lines, nothing is left that more could change.
        for _ in 0..count.min(self.rows) {
            let mut line = self.lines.remove(self.base + remove).expect("the region lies within the screen");
            line.renew(self.cols, fill, false);
            self.lines.insert(self.base + insert, line);
        }
    }

    /// RI at the top of the region.
    pub fn scroll_back(&mut self, fill: &Pen) {
        let mut line = self.lines.remove(self.base + self.bottom).expect("the region lies within the screen");
        line.renew(self.cols, fill, false);
        self.lines.insert(self.base + self.top, line);
    }

    /// ED 3.
    pub fn clear_scrollback(&mut self) {
        let surplus = self.lines.len().saturating_sub(self.rows);
        self.drop_first(surplus);
    }

    /// Takes lines off the top.
    fn drop_first(&mut self, count: usize) {
        let dropped = self.lines.drain(..count);
        if let Some(departed) = &mut self.departed {
            departed.extend(dropped);
        }
        self.base = self.base.saturating_sub(count);
    }

    /// The lines that left at the top, and those of the scrollback, which is empty after this.
    pub fn take_departed(&mut self) -> Vec<Line> {
        let mut lines = self.departed.replace(Vec::new()).unwrap_or_default();
        lines.extend(self.lines.drain(..self.base));
        self.saved.y = self.saved.y.saturating_sub(self.base);
        self.base = 0;
        lines
    }

    pub fn next_stop(&self, from: usize) -> usize {
        let next = self.tabs.range(from + 1..).next().copied().unwrap_or(self.cols);
        next.min(self.cols - 1)
    }

    pub fn previous_stop(&self, from: usize) -> usize {
        let previous = self.tabs.range(..from).next_back().copied().unwrap_or(0);
        previous.min(self.cols - 1)
    }

    /// The screen gets a new size. In the alternate screen what no longer fits is lost.
    pub fn resize(&mut self, cols: usize, rows: usize) {
        let max_lines = rows + self.scrollback.unwrap_or(0);
        self.max_lines = self.max_lines.max(max_lines);
        if !self.lines.is_empty() {
            if self.cols < cols {
                self.lines.iter_mut().for_each(|line| line.resize(cols));
            }
            let up = self.resize_rows(cols, rows);
            if max_lines < self.max_lines {
                let surplus = self.lines.len().saturating_sub(max_lines);
                self.drop_first(surplus);
                self.saved.y = self.saved.y.saturating_sub(surplus);
                self.max_lines = max_lines;
            }
            self.x = self.x.min(cols - 1);
            self.y = self.y.min(rows - 1) + up;
            self.saved.x = self.saved.x.min(cols - 1);
            self.top = 0;
        }
        self.bottom = rows - 1;
        let reflows = self.scrollback.is_some();
        if cols > self.cols && reflows {
            self.reflow_larger(cols, rows);
        } else if cols < self.cols {
            if reflows {
                self.reflow_smaller(cols, rows);
            }
            self.lines.iter_mut().for_each(|line| line.resize(cols));
        }
        self.max_lines = max_lines;
        (self.cols, self.rows) = (cols, rows);
        self.mend();
    }

    /// Without any scrollback xterm.js' reflow may end with the screen beyond the last line. Nothing here may.
    fn mend(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        while self.lines.len() < self.rows {
            self.lines.push_back(Line::new(self.cols, &Pen::default(), false));
        }
        self.base = self.base.min(self.lines.len() - self.rows);
        self.y = self.y.min(self.rows - 1);
    }

    /// Adds or removes lines; returns how far the text moved down.
    fn resize_rows(&mut self, cols: usize, rows: usize) -> usize {
        let mut up = 0;
        for _ in self.rows..rows {
            if self.lines.len() < rows + self.base {
                if self.base > 0 && self.lines.len() <= self.base + self.y + up + 1 {
                    self.base -= 1;
                    up += 1;
                } else {
                    self.lines.push_back(Line::new(cols, &Pen::default(), false));
                }
            }
        }
        for _ in rows..self.rows {
            if self.lines.len() > rows + self.base {
                if self.lines.len() > self.base + self.y + 1 {
                    self.lines.pop_back();
                } else {
                    self.base += 1;
                }
            }
        }
        up
    }

    /// After a resize: new stops for what a wider screen has more, from the last stop on. Those that a narrower one has
    /// no columns for are lost, though xterm.js remembers them, for no sequence could tell another terminal of them.
    pub fn extend_tabs(&mut self) {
        self.tabs.split_off(&self.cols);
        let from = match self.tabs.contains(&self.cols) {
            true => self.cols,
            false => self.previous_stop(self.cols),
        };
        self.tabs.extend((from..self.cols).step_by(TAB_WIDTH));
    }

    pub fn insert_lines(&mut self, count: usize, fill: &Pen) {
        self.rotate(self.bottom, self.y, count, fill);
    }

    pub fn delete_lines(&mut self, count: usize, fill: &Pen) {
        self.rotate(self.y, self.bottom, count, fill);
    }

    pub fn scroll_up(&mut self, count: usize, fill: &Pen) {
        self.rotate(self.top, self.bottom, count, fill);
    }

    pub fn scroll_down(&mut self, count: usize) {
        self.rotate(self.bottom, self.top, count, &Pen::default());
    }
}
