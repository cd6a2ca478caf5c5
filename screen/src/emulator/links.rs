//! OSC 8: the addresses behind cells, by number, and how long they are kept.

use std::collections::{BTreeMap, BTreeSet};

use super::Emulator;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// Parts with the same id and address are one link; one without an id stands alone.
    pub id: Option<String>,
    pub address: String,
}

/// Links kept before those that no cell has any more are looked for.
const MIN_SWEEP: usize = 1024;

#[derive(Default)]
pub(crate) struct Links {
    by_number: BTreeMap<u32, Link>,
    last: u32,
    sweep_at: usize,
}

impl Links {
    pub fn get(&self, number: u32) -> Option<&Link> {
        self.by_number.get(&number)
    }

    fn register(&mut self, link: Link) -> u32 {
        let known = || self.by_number.iter().find(|(_, known)| **known == link).map(|(&number, _)| number);
        if link.id.is_some()
            && let Some(number) = known()
        {
            return number;
        }
        // 0 is no link. After four thousand million the first ones' cells are long gone.
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.by_number.insert(self.last, link);
        self.last
    }
}

impl Emulator {
    pub(super) fn set_link(&mut self, text: &str) {
        // Addresses may have semicolons of their own.
        let Some((parameters, address)) = text.split_once(';') else { return };
        let parameters = parameters.trim();
        if address.is_empty() && !parameters.is_empty() {
            return;
        }
        self.pen.extended.link = 0;
        if !address.is_empty() {
            self.forget_unused_links();
            let id = parameters.split(':').find_map(|parameter| parameter.strip_prefix("id="));
            let id = id.filter(|id| !id.is_empty()).map(str::to_owned);
            self.pen.extended.link = self.links.register(Link { id, address: address.to_owned() });
        }
        self.pen.update_extended();
    }

    /// Twice as many as were in use the last time are let in before the next look, so it costs little per link.
    fn forget_unused_links(&mut self) {
        if self.links.by_number.len() < self.links.sweep_at.max(MIN_SWEEP) {
            return;
        }
        let lines = self.main.lines.iter().chain(&self.alternate.lines);
        let used: BTreeSet<u32> = lines.flat_map(|line| line.links()).collect();
        self.links.by_number.retain(|number, _| used.contains(number));
        self.links.sweep_at = 2 * self.links.by_number.len();
    }
}
