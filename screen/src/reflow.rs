//! Re-wraps the main screen and its scrollback when the width changes: a port of xterm.js' `BufferReflow`, down to
//! leaving the line with the cursor alone, for the program will draw that one anew.

use std::collections::VecDeque;

use crate::attributes::Pen;
use crate::buffer::Buffer;
use crate::line::Line;

impl Buffer {
    /// Joins what an edge had broken. `self.cols` is still the old width; the lines have the new one.
    pub(crate) fn reflow_larger(&mut self, cols: usize, rows: usize) {
        let mut keep = vec![true; self.lines.len()];
        let cursor = self.base + self.y;
        let mut y = 0;
        while y + 1 < self.lines.len() {
            let end = self.group_end(y);
            if end > y + 1 && !(y..end).contains(&cursor) {
                let empty = join(&mut self.lines, y, end, self.cols, cols);
                keep[end - empty..end].fill(false);
            }
            y = end;
        }
        let removed = keep.iter().filter(|kept| !**kept).count();
        if removed == 0 {
            return;
        }
        let mut kept = keep.into_iter();
        self.lines.retain(|_| kept.next().unwrap_or(true));
        for _ in 0..removed {
            if self.base > 0 {
                self.base -= 1;
                continue;
            }
            self.y = self.y.saturating_sub(1);
            if self.lines.len() < rows {
                self.lines.push_back(Line::new(cols, &Pen::default(), false));
            }
        }
        self.saved.y = self.saved.y.saturating_sub(removed);
    }

    /// The line after the last that goes on from line `start`.
    fn group_end(&self, start: usize) -> usize {
        let more = self.lines.range(start + 1..).take_while(|line| line.wrapped).count();
        start + 1 + more
    }

    /// Breaks what no longer fits. The lines still have the old width.
    pub(crate) fn reflow_smaller(&mut self, cols: usize, rows: usize) {
        // Lines are never taken out here, only counted: one that fell off the end may still be looked at.
        let mut len = self.lines.len();
        let mut inserts: Vec<(usize, Vec<Line>)> = Vec::new();
        let mut inserted = 0;
        let mut y = len;
        while y > 0 {
            y -= 1;
            let last = y;
            if !self.lines[y].wrapped && self.lines[y].trimmed_len() <= cols {
                continue;
            }
            while self.lines[y].wrapped && y > 0 {
                y -= 1;
            }
            if (y..=last).contains(&(self.base + self.y)) {
                continue;
            }
            let new = self.break_group(y, last + 1, cols);
            let count = new.len();
            let trimmed = match self.base == 0 && self.y + 1 != len {
                true => (self.y + count).saturating_sub(self.max_lines),
                false => (len + count).saturating_sub(self.max_lines),
            };
            if count > 0 {
                inserts.push((last + 1 + inserted, new));
                inserted += count;
            }
            for _ in trimmed..count {
                if self.base > 0 {
                    if self.base < self.max_lines.min(len + inserted).saturating_sub(rows) {
                        self.base += 1;
                    }
                } else if self.y + 1 < rows {
                    self.y += 1;
                    len -= 1;
                } else {
                    self.base += 1;
                }
            }
            self.saved.y = (self.saved.y + count).min(self.base + rows - 1);
        }
        self.lines.truncate(len);
        if !inserts.is_empty() {
            self.place(inserts, inserted);
        }
    }

    /// Breaks lines `start` to before `end` at `cols`; returns the lines that this takes more.
    fn break_group(&mut self, start: usize, end: usize, cols: usize) -> Vec<Line> {
        let mut group: Vec<Line> = self.lines.range(start..end).cloned().collect();
        let old_len = group.len();
        let last_len = group[old_len - 1].trimmed_len();
        let lengths = broken_lengths(&group, self.cols, cols);
        let more = lengths.len().saturating_sub(old_len);
        group.extend((0..more).map(|_| Line::new(cols, &Pen::default(), true)));
        move_backwards(&mut group, &lengths, old_len, last_len, self.cols);
        for (line, &len) in group.iter_mut().zip(&lengths) {
            if len < cols {
                line.set_null(len, &Pen::default());
            }
        }
        let new = group.split_off(old_len);
        for (at, line) in group.into_iter().enumerate() {
            self.lines[start + at] = line;
        }
        new
    }

    /// Puts new lines in at their places, from the end on, as far as there is room.
    fn place(&mut self, inserts: Vec<(usize, Vec<Line>)>, inserted: usize) {
        let mut original = std::mem::take(&mut self.lines);
        let mut room = self.max_lines.min(original.len() + inserted);
        let mut placed = VecDeque::with_capacity(room);
        let mut so_far = 0;
        let mut inserts = inserts.into_iter().peekable();
        while room > 0 {
            let line = match inserts.next_if(|(start, _)| *start >= original.len() + so_far) {
                Some((_, new)) => {
                    so_far += new.len();
                    let fitting = new.len().min(room);
                    room -= fitting;
                    new.into_iter().rev().take(fitting).for_each(|line| placed.push_front(line));
                    continue;
                }
                None => original.pop_back(),
            };
            match line {
                Some(line) => placed.push_front(line),
                None => break,
            }
            room -= 1;
        }
        self.lines = placed;
    }
}

/// Joins lines `start` to before `end` at the new width; returns how many at the end are empty now.
fn join(lines: &mut VecDeque<Line>, start: usize, end: usize, old: usize, cols: usize) -> usize {
    let mut group: Vec<Line> = lines.range(start..end).cloned().collect();
    let (mut to, mut to_col) = (0, wrapped_len(&group, 0, old));
    let (mut from, mut from_col) = (1, 0);
    while from < group.len() {
        let from_len = wrapped_len(&group, from, old);
        let count = (from_len - from_col).min(cols - to_col);
        copy(&mut group, from, from_col, to, to_col, count);
        to_col += count;
        if to_col == cols {
            to += 1;
            to_col = 0;
        }
        from_col += count;
        if from_col == from_len {
            from += 1;
            from_col = 0;
        }
        if to_col == 0 && to != 0 && group[to - 1].width(cols - 1) == 2 {
            copy(&mut group, to - 1, cols - 1, to, to_col, 1);
            to_col += 1;
            group[to - 1].set_null(cols - 1, &Pen::default());
        }
    }
    // What the copying read last may still be there.
    if let Some(line) = group.get_mut(to) {
        line.erase(to_col, cols, &Pen::default(), false);
    }
    let empty = (1..group.len()).rev().take_while(|&at| at > to || group[at].trimmed_len() == 0).count();
    for (at, line) in group.into_iter().enumerate() {
        lines[start + at] = line;
    }
    empty
}

fn copy(group: &mut [Line], from: usize, from_col: usize, to: usize, to_col: usize, count: usize) {
    if from == to {
        return group[to].shift(from_col, to_col, count);
    }
    let source = group[from].clone();
    group[to].copy_from(&source, from_col, to_col, count);
}

/// Columns of line `at` of a group that count: not the one that a wide character left free at the edge.
fn wrapped_len(group: &[Line], at: usize, cols: usize) -> usize {
    if at + 1 == group.len() {
        return group[at].trimmed_len();
    }
    let ends_empty = !group[at].has_content(cols - 1) && group[at].width(cols - 1) == 1;
    if ends_empty && group[at + 1].width(0) == 2 { cols - 1 } else { cols }
}

/// How long each line becomes.
fn broken_lengths(group: &[Line], old: usize, cols: usize) -> Vec<usize> {
    let needed: usize = (0..group.len()).map(|at| wrapped_len(group, at, old)).sum();
    let mut lengths = Vec::new();
    let (mut line, mut col, mut available) = (0, 0, 0);
    while available < needed {
        if needed - available < cols {
            lengths.push(needed - available);
            break;
        }
        col += cols;
        let len = wrapped_len(group, line, old);
        if col > len && line + 1 < group.len() {
            col -= len;
            line += 1;
        }
        let wide = group[line].width(col - 1) == 2;
        let len = if wide { cols - 1 } else { cols };
        col -= usize::from(wide);
        lengths.push(len);
        available += len;
    }
    lengths
}

/// Moves the cells of a group to where they belong, from the last on, so that none is overwritten before it was moved.
fn move_backwards(group: &mut [Line], lengths: &[usize], old_len: usize, last_len: usize, old: usize) {
    let Some(mut to) = lengths.len().checked_sub(1) else { return };
    let mut to_col = lengths[to];
    if to_col == 0 {
        let Some(before) = to.checked_sub(1) else { return };
        (to, to_col) = (before, lengths[before]);
    }
    let (mut from, mut from_col) = (old_len - 1, last_len);
    loop {
        let count = from_col.min(to_col);
        copy(group, from, from_col - count, to, to_col - count, count);
        to_col -= count;
        from_col -= count;
        let done = if to_col == 0 { to.checked_sub(1) } else { Some(to) };
        if to_col == 0
            && let Some(before) = done
        {
            (to, to_col) = (before, lengths[before]);
        }
        if from_col == 0 {
            let Some(before) = from.checked_sub(1) else { return };
            from = before;
            from_col = wrapped_len(group, from, old);
        }
        if done.is_none() {
            return;
        }
    }
}
